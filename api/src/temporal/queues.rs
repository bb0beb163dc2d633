//! What waits on our task queues, and who serves them, as Temporal tells.

use std::time::{Duration, SystemTime};

use temporalio_client::{
    Client, NamespacedClient,
    grpc::WorkflowService,
    tonic::{IntoRequest, Status},
};
use temporalio_common::protos::temporal::api::{
    enums::v1::TaskQueueType,
    taskqueue::v1::{PollerInfo, TaskQueue},
    workflowservice::v1::DescribeTaskQueueRequest,
};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// After how long without a poll a worker serves no more: a poll takes a minute if nothing comes.
const SILENCE: Duration = Duration::from_mins(2);

/// How a queue stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    /// How many workers poll it.
    pub(crate) workers: u32,
    /// How many tasks no worker has taken yet, about.
    pub(crate) backlog: u64,
}

/// Asks how a queue stands.
pub(crate) async fn describe(client: &Client, name: &str, kind: TaskQueueType) -> Result<Queue, Status> {
    let mut client = client.clone();
    let mut request = DescribeTaskQueueRequest {
        namespace: client.namespace(),
        task_queue: Some(TaskQueue { name: name.to_owned(), ..Default::default() }),
        task_queue_type: kind.into(),
        report_stats: true,
        ..Default::default()
    }
    .into_request();
    request.set_timeout(TIMEOUT);
    let described = WorkflowService::describe_task_queue(&mut client, request).await?.into_inner();
    let workers = described.pollers.iter().filter(|poller| polls(poller)).count();
    let backlog = described.stats.map_or(0, |stats| stats.approximate_backlog_count);
    Ok(Queue {
        workers: u32::try_from(workers).unwrap_or(u32::MAX),
        backlog: u64::try_from(backlog).unwrap_or_default(),
    })
}

/// Temporal remembers for five minutes who polled. Its clock may be ahead of ours.
fn polls(poller: &PollerInfo) -> bool {
    let last = poller.last_access_time.and_then(|time| SystemTime::try_from(time).ok());
    last.is_some_and(|last| last.elapsed().unwrap_or_default() < SILENCE)
}
