//! Starts a workflow under a request id, which makes the start idempotent: the server answers a
//! repeated request id with the run that it started, even if that has closed since. The SDK's
//! client generates a request id for each call, so the request is built here.

use std::time::Duration;

use temporalio_client::{
    Client, NamespacedClient, WorkflowStartOptions,
    grpc::WorkflowService,
    tonic::{Code, Status},
};
use temporalio_common::{
    HasWorkflowDefinition, MemoValues,
    data_converters::{
        PayloadConversionError, SerializationContextData, TemporalSerializable,
        WorkflowSerializationContext,
    },
    protos::temporal::api::{
        common::v1::{Memo, Payload, Payloads, WorkflowType},
        enums::v1::{WorkflowIdConflictPolicy, WorkflowIdReusePolicy},
        sdk::v1::UserMetadata,
        taskqueue::v1::TaskQueue,
        workflowservice::v1::StartWorkflowExecutionRequest,
    },
    search_attributes::SearchAttributes,
};

use crate::{call::with_timeout, trace_context};

/// Timeout of one call.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A failure to start a workflow.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The call failed, or Temporal rejected it.
    #[error("{0}")]
    Call(Box<Status>),
    /// The input cannot be encoded.
    #[error("cannot encode the input of a workflow: {0}")]
    Payload(#[from] PayloadConversionError),
}

/// Starts a workflow, unless one was started under this request id before. Returns `false` if an
/// open workflow with another request id has the workflow id.
///
/// # Errors
/// If the input cannot be encoded, or the call fails.
pub async fn start_once<W>(
    client: &Client,
    request_id: String,
    workflow: W,
    input: &W::Input,
    options: WorkflowStartOptions,
) -> Result<bool, StartError>
where
    W: HasWorkflowDefinition,
{
    let request = request(client, request_id, workflow.name(), input, &options).await?;
    let request = with_timeout(request, TIMEOUT);
    match WorkflowService::start_workflow_execution(&mut client.clone(), request).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::AlreadyExists => Ok(false),
        Err(status) => Err(StartError::Call(Box::new(status))),
    }
}

async fn request<T: TemporalSerializable + 'static>(
    client: &Client,
    request_id: String,
    workflow_type: &str,
    input: &T,
    options: &WorkflowStartOptions,
) -> Result<StartWorkflowExecutionRequest, PayloadConversionError> {
    let context = SerializationContextData::Workflow(WorkflowSerializationContext::new());
    let converter = client.data_converter();
    let mut memo = Memo::default();
    for (name, value) in options.memo.iter().flat_map(MemoValues::iter) {
        let value: Payload = converter.to_payload(&context, value).await?;
        memo.fields.insert(name.to_owned(), value);
    }
    let summary = match &options.static_summary {
        Some(summary) => Some(converter.to_payload(&context, summary).await?),
        None => None,
    };
    Ok(StartWorkflowExecutionRequest {
        namespace: client.namespace(),
        identity: client.identity(),
        request_id,
        workflow_id: options.workflow_id.clone(),
        workflow_type: Some(WorkflowType {
            name: workflow_type.to_owned(),
        }),
        task_queue: Some(TaskQueue {
            name: options.task_queue.clone(),
            ..TaskQueue::default()
        }),
        input: Some(Payloads {
            payloads: converter.to_payloads(&context, input).await?,
        }),
        workflow_id_reuse_policy: WorkflowIdReusePolicy::AllowDuplicate.into(),
        workflow_id_conflict_policy: WorkflowIdConflictPolicy::Fail.into(),
        workflow_task_timeout: options.task_timeout.and_then(|time| time.try_into().ok()),
        search_attributes: options
            .search_attributes
            .clone()
            .map(SearchAttributes::into_proto),
        priority: Some(options.priority.clone().into()),
        header: trace_context::header(),
        memo: Some(memo),
        user_metadata: Some(UserMetadata {
            summary,
            details: None,
        }),
        ..StartWorkflowExecutionRequest::default()
    })
}
