//! Waiting until something happens to a workflow: the long poll for new events of its history.

use std::time::Duration;

use temporalio_client::{NamespacedClient, grpc::WorkflowService, tonic::IntoRequest};
use temporalio_common::protos::temporal::api::{
    common::v1::WorkflowExecution, enums::v1::HistoryEventFilterType,
    workflowservice::v1::GetWorkflowExecutionHistoryRequest,
};

use super::Temporal;
use crate::problem::Problem;

/// How long one call waits; the server itself answers sooner when nothing happens.
const POLL: Duration = Duration::from_secs(30);

/// How long to wait before a history that has come to its end is asked for again.
const CLOSED: Duration = Duration::from_millis(100);

/// How many events are read at a time; they are not looked at.
const PAGE: i32 = 250;

/// A place in a workflow's history.
pub(crate) struct Changes {
    workflow_id: String,
    place: Vec<u8>,
    at_most: Option<Duration>,
    /// Whether the run that was followed has closed.
    closed: bool,
}

impl Changes {
    /// The beginning of a workflow's latest run.
    pub(crate) fn of(workflow_id: &str) -> Self {
        Self {
            workflow_id: workflow_id.to_owned(),
            place: Vec::new(),
            at_most: None,
            closed: false,
        }
    }

    /// Returns from the next wait after this time at the latest.
    pub(crate) fn at_most(&mut self, limit: Duration) {
        self.at_most = Some(limit);
    }

    /// Returns at once for what has happened already, then when more has, or when nothing has for a while.
    ///
    /// # Errors
    /// If Temporal is away, or knows nothing of the workflow.
    pub(crate) async fn next(&mut self, temporal: &Temporal) -> Result<(), Problem> {
        if self.closed {
            // There may be another run, or what was read of this one was not its end yet.
            tokio::time::sleep(CLOSED).await;
        }
        let mut client = temporal.client()?.clone();
        let request = GetWorkflowExecutionHistoryRequest {
            namespace: client.namespace(),
            execution: Some(WorkflowExecution {
                workflow_id: self.workflow_id.clone(),
                run_id: String::new(),
            }),
            maximum_page_size: PAGE,
            next_page_token: self.place.clone(),
            wait_new_event: true,
            history_event_filter_type: HistoryEventFilterType::AllEvent.into(),
            ..GetWorkflowExecutionHistoryRequest::default()
        };
        let mut request = request.into_request();
        request.set_timeout(POLL);
        let limit = self.at_most.take().unwrap_or(POLL);
        match tokio::time::timeout(
            limit,
            WorkflowService::get_workflow_execution_history(&mut client, request),
        )
        .await
        {
            Ok(Ok(answer)) => {
                self.place = answer.into_inner().next_page_token;
                self.closed = self.place.is_empty();
                Ok(())
            }
            // The place is as good as before.
            Err(_) => Ok(()),
            Ok(Err(status)) => {
                self.place.clear();
                Err(super::problem(&status))
            }
        }
    }
}
