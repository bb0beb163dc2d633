//! Long poll for new events in the history of a run.

use std::time::Duration;

use temporalio_client::{Client, NamespacedClient, grpc::WorkflowService, tonic::Status};
use temporalio_common::protos::temporal::api::{
    common::v1::WorkflowExecution,
    enums::v1::{EventType, HistoryEventFilterType},
    workflowservice::v1::GetWorkflowExecutionHistoryRequest,
};

use crate::call::with_timeout;

/// Timeout of one long poll. The server returns earlier if there is no new event.
const POLL: Duration = Duration::from_secs(30);

/// Pause before the history of a closed run is read again.
const CLOSED: Duration = Duration::from_millis(100);

/// Events per page.
const PAGE: i32 = 250;

/// A position in the history of one run.
pub struct HistoryPoll {
    execution: WorkflowExecution,
    next_page_token: Vec<u8>,
    is_closed: bool,
}

impl HistoryPoll {
    /// Creates a position at the first event of a run, or of the latest run without a run id.
    #[must_use]
    pub fn of(workflow_id: &str, run_id: Option<&str>) -> Self {
        Self {
            execution: WorkflowExecution {
                workflow_id: workflow_id.to_owned(),
                run_id: run_id.unwrap_or_default().to_owned(),
            },
            next_page_token: Vec::new(),
            is_closed: false,
        }
    }

    /// Returns true if it was created for this run.
    #[must_use]
    pub fn is_of(&self, run_id: Option<&str>) -> bool {
        self.execution.run_id == run_id.unwrap_or_default()
    }

    /// Waits until the state of the workflow may have changed since its history had
    /// `history_length` events: until a workflow task was completed or the run has closed, but for
    /// 30 s at most.
    ///
    /// # Errors
    /// If the call fails, or Temporal does not know the run.
    pub async fn after(&mut self, history_length: i64, client: &Client) -> Result<(), Status> {
        if self.is_closed {
            // There may be a newer run, or the last page did not yet reach the end of this one.
            tokio::time::sleep(CLOSED).await;
        }
        let changed = async {
            while !self.next(history_length, client).await? {}
            Ok(())
        };
        tokio::time::timeout(POLL, changed).await.unwrap_or(Ok(()))
    }

    /// Reads the next events. Returns true if the state may have changed with them.
    async fn next(&mut self, history_length: i64, client: &Client) -> Result<bool, Status> {
        let mut client = client.clone();
        let request = GetWorkflowExecutionHistoryRequest {
            namespace: client.namespace(),
            execution: Some(self.execution.clone()),
            maximum_page_size: PAGE,
            next_page_token: self.next_page_token.clone(),
            wait_new_event: true,
            history_event_filter_type: HistoryEventFilterType::AllEvent.into(),
            ..GetWorkflowExecutionHistoryRequest::default()
        };
        let request = with_timeout(request, POLL);
        match WorkflowService::get_workflow_execution_history(&mut client, request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                self.next_page_token = answer.next_page_token;
                self.is_closed = self.next_page_token.is_empty();
                let events = answer.history.unwrap_or_default().events;
                let is_news = events.iter().any(|event| {
                    event.event_id > history_length
                        && event.event_type() == EventType::WorkflowTaskCompleted
                });
                Ok(is_news || self.is_closed)
            }
            Err(status) => {
                self.next_page_token.clear();
                Err(status)
            }
        }
    }
}
