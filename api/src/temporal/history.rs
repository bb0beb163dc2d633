//! Reading what a workflow was started with, and what has happened since, off its history: for when there is no worker to ask.

use futures::{Stream, StreamExt};
use temporalio_client::{
    Client, WorkflowFetchHistoryOptions, WorkflowHandle, errors::WorkflowInteractionError,
};
use temporalio_common::{
    HasWorkflowDefinition,
    data_converters::{
        SerializationContextData, TemporalDeserializable, WorkflowSerializationContext,
    },
    protos::temporal::api::{
        common::v1::Payloads,
        history::v1::{HistoryEvent, history_event::Attributes},
    },
};

use super::{interaction_problem, rpc_options};
use crate::problem::Problem;

/// The events of a workflow's latest run so far.
pub(crate) fn events<W>(
    handle: &WorkflowHandle<Client, W>,
) -> impl Stream<Item = Result<HistoryEvent, WorkflowInteractionError>> + Send + Unpin + use<W>
where
    W: HasWorkflowDefinition,
{
    handle.fetch_history(
        WorkflowFetchHistoryOptions::builder()
            .rpc_options(rpc_options())
            .build(),
    )
}

/// What a workflow was started with: the first of its events.
pub(crate) async fn input<T>(
    client: &Client,
    events: &mut (impl Stream<Item = Result<HistoryEvent, WorkflowInteractionError>> + Unpin),
) -> Result<T, Problem>
where
    T: TemporalDeserializable + 'static,
{
    let first = events.next().await;
    let event = first
        .ok_or_else(Problem::internal)?
        .map_err(interaction_problem)?;
    let Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) = event.attributes
    else {
        return Err(Problem::internal());
    };
    read(client, started.input).await
}

/// What events and heartbeats carry.
pub(crate) async fn read<T>(client: &Client, payloads: Option<Payloads>) -> Result<T, Problem>
where
    T: TemporalDeserializable + 'static,
{
    let context = SerializationContextData::Workflow(WorkflowSerializationContext::new());
    let payloads = payloads
        .map(|payloads| payloads.payloads)
        .unwrap_or_default();
    client
        .options()
        .data_converter
        .from_payloads(&context, payloads)
        .await
        .map_err(|error| {
            tracing::error!(%error, "cannot read what a history carries");
            Problem::internal()
        })
}
