//! What waits on our task queues, and who serves them, as Temporal tells.

use std::time::Duration;

use temporalio_client::{Client, NamespacedClient, grpc::WorkflowService, tonic::Status};
use temporalio_common::protos::temporal::api::{
    enums::v1::TaskQueueType, taskqueue::v1::TaskQueue,
    workflowservice::v1::DescribeTaskQueueRequest,
};

use super::limited;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How a queue stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    /// How many workers have polled it in the last five minutes. One whose every place is taken does not poll.
    pub(crate) workers: u32,
    /// How many tasks no worker has taken yet, about.
    pub(crate) backlog: u64,
}

/// Asks how a queue stands.
pub(crate) async fn describe(
    client: &Client,
    name: &str,
    kind: TaskQueueType,
) -> Result<Queue, Status> {
    let mut client = client.clone();
    let request = DescribeTaskQueueRequest {
        namespace: client.namespace(),
        task_queue: Some(TaskQueue {
            name: name.to_owned(),
            ..Default::default()
        }),
        task_queue_type: kind.into(),
        report_stats: true,
        ..Default::default()
    };
    let described = WorkflowService::describe_task_queue(&mut client, limited(request, TIMEOUT))
        .await?
        .into_inner();
    let backlog = described
        .stats
        .map_or(0, |stats| stats.approximate_backlog_count);
    Ok(Queue {
        workers: u32::try_from(described.pollers.len()).unwrap_or(u32::MAX),
        backlog: u64::try_from(backlog).unwrap_or_default(),
    })
}
