//! Waiting until something happens to a workflow: the long poll for new events of its history.

use std::time::Duration;

use temporalio_client::{NamespacedClient, grpc::WorkflowService};
use temporalio_common::protos::temporal::api::{
    common::v1::WorkflowExecution,
    enums::v1::{EventType, HistoryEventFilterType},
    workflowservice::v1::GetWorkflowExecutionHistoryRequest,
};

use super::{Temporal, limited};
use crate::problem::Problem;

/// How long one call waits; the server itself answers sooner when nothing happens.
const POLL: Duration = Duration::from_secs(30);

/// How long to wait before a history that has come to its end is asked for again.
const CLOSED: Duration = Duration::from_millis(100);

/// How many events are read at a time.
const PAGE: i32 = 250;

/// A place in the history of one run of a workflow.
pub(crate) struct Changes {
    execution: WorkflowExecution,
    place: Vec<u8>,
    /// Whether the run has closed.
    is_closed: bool,
}

impl Changes {
    /// The beginning of a run; of the latest one if it is not named.
    pub(crate) fn of(workflow_id: &str, run_id: Option<&str>) -> Self {
        Self {
            execution: WorkflowExecution {
                workflow_id: workflow_id.to_owned(),
                run_id: run_id.unwrap_or_default().to_owned(),
            },
            place: Vec::new(),
            is_closed: false,
        }
    }

    /// Whether these are of this run.
    pub(crate) fn are_of(&self, run_id: Option<&str>) -> bool {
        self.execution.run_id == run_id.unwrap_or_default()
    }

    /// Returns when the state of the workflow may have changed since its history had so many events: when a workflow task was
    /// completed, or the run has closed. Returns as well when nothing has happened for a while.
    ///
    /// # Errors
    /// If Temporal is away, or knows nothing of the workflow.
    pub(crate) async fn after(
        &mut self,
        history_length: i64,
        temporal: &Temporal,
    ) -> Result<(), Problem> {
        if self.is_closed {
            // There may be another run, or what was read of this one was not its end yet.
            tokio::time::sleep(CLOSED).await;
        }
        let changed = async {
            while !self.next(history_length, temporal).await? {}
            Ok(())
        };
        tokio::time::timeout(POLL, changed).await.unwrap_or(Ok(()))
    }

    /// Whether there is news among the events that come next.
    async fn next(&mut self, history_length: i64, temporal: &Temporal) -> Result<bool, Problem> {
        let mut client = temporal.client()?.clone();
        let request = GetWorkflowExecutionHistoryRequest {
            namespace: client.namespace(),
            execution: Some(self.execution.clone()),
            maximum_page_size: PAGE,
            next_page_token: self.place.clone(),
            wait_new_event: true,
            history_event_filter_type: HistoryEventFilterType::AllEvent.into(),
            ..GetWorkflowExecutionHistoryRequest::default()
        };
        let request = limited(request, POLL);
        match WorkflowService::get_workflow_execution_history(&mut client, request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                self.place = answer.next_page_token;
                self.is_closed = self.place.is_empty();
                let events = answer.history.unwrap_or_default().events;
                let is_news = events.iter().any(|event| {
                    event.event_id > history_length
                        && event.event_type() == EventType::WorkflowTaskCompleted
                });
                Ok(is_news || self.is_closed)
            }
            Err(status) => {
                self.place.clear();
                Err(super::problem(&status))
            }
        }
    }
}
