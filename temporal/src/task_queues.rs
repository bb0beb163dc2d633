//! Task queues: their pollers, their backlog, and their rate limit.

use std::time::{Duration, SystemTime};

use temporalio_client::{Client, NamespacedClient, grpc::WorkflowService, tonic::Status};
use temporalio_common::protos::temporal::api::{
    enums::v1::{TaskQueueType, WorkerVersioningMode},
    taskqueue::v1::{PollerInfo, RateLimit as RateLimitMessage, TaskQueue as TaskQueueMessage},
    workflowservice::v1::{
        DescribeTaskQueueRequest, DescribeTaskQueueResponse, UpdateTaskQueueConfigRequest,
        update_task_queue_config_request::RateLimitUpdate,
    },
};

use crate::call::with_timeout;

/// Timeout of one call.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Kind of tasks of a queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tasks {
    /// Workflow tasks.
    Workflow,
    /// Activity tasks.
    Activity,
}

impl From<Tasks> for TaskQueueType {
    fn from(tasks: Tasks) -> Self {
        match tasks {
            Tasks::Workflow => Self::Workflow,
            Tasks::Activity => Self::Activity,
        }
    }
}

/// State of a task queue.
#[derive(Clone, Debug)]
pub struct TaskQueue {
    /// Workers that have polled it in the last five minutes. A worker without a free slot does not
    /// poll.
    pub pollers: Vec<Poller>,
    /// Approximate number of tasks that no worker has taken yet.
    pub backlog: u64,
}

/// A worker that polls a task queue.
#[derive(Clone, Debug)]
pub struct Poller {
    /// Time of its last poll, by the server's clock.
    pub last_access: Option<SystemTime>,
    /// Version of the worker; `None` without Worker Versioning.
    pub version: Option<Version>,
}

/// A version of a worker deployment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Version {
    /// Name of the deployment.
    pub deployment: String,
    /// Id of the build.
    pub build_id: String,
}

impl From<PollerInfo> for Poller {
    fn from(poller: PollerInfo) -> Self {
        let versioned = poller
            .deployment_options
            .filter(|options| options.worker_versioning_mode() == WorkerVersioningMode::Versioned);
        Self {
            last_access: poller
                .last_access_time
                .and_then(|time| time.try_into().ok()),
            version: versioned.map(|options| Version {
                deployment: options.deployment_name,
                build_id: options.build_id,
            }),
        }
    }
}

/// Describes a task queue.
///
/// # Errors
/// If the call fails.
pub async fn describe(client: &Client, name: &str, tasks: Tasks) -> Result<TaskQueue, Status> {
    let request = DescribeTaskQueueRequest {
        report_stats: true,
        ..request(client, name, tasks)
    };
    let described = call(client, request).await?;
    let backlog = described
        .stats
        .map_or(0, |stats| stats.approximate_backlog_count);
    Ok(TaskQueue {
        pollers: described.pollers.into_iter().map(Poller::from).collect(),
        backlog: u64::try_from(backlog).unwrap_or_default(),
    })
}

/// Rate limit of an activity task queue. It holds for all workers together.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// Activities dispatched a second.
    pub per_second: f64,
    /// Time at which it was set.
    pub set_at: SystemTime,
    /// Reason that was given with it.
    pub reason: String,
}

/// Returns the rate limit that was set for an activity task queue, if there is one.
///
/// # Errors
/// If the call fails.
pub async fn rate_limit(client: &Client, name: &str) -> Result<Option<RateLimit>, Status> {
    let request = DescribeTaskQueueRequest {
        report_config: true,
        ..request(client, name, Tasks::Activity)
    };
    let config = call(client, request).await?.config.unwrap_or_default();
    let limit = config.queue_rate_limit.unwrap_or_default();
    let metadata = limit.metadata.unwrap_or_default();
    let set_at = metadata.update_time.and_then(|time| time.try_into().ok());
    Ok(limit
        .rate_limit
        .zip(set_at)
        .map(|(limit, set_at)| RateLimit {
            per_second: f64::from(limit.requests_per_second),
            set_at,
            reason: metadata.reason,
        }))
}

/// Sets the rate limit of an activity task queue, or removes it.
///
/// # Errors
/// If the call fails.
pub async fn set_rate_limit(
    client: &Client,
    name: &str,
    per_second: Option<f64>,
    reason: &str,
) -> Result<(), Status> {
    let mut client = client.clone();
    #[expect(clippy::cast_possible_truncation, reason = "the message has an f32")]
    let rate_limit = per_second.map(|per_second| RateLimitMessage {
        requests_per_second: per_second as f32,
    });
    let request = UpdateTaskQueueConfigRequest {
        namespace: client.namespace(),
        identity: client.identity(),
        task_queue: name.to_owned(),
        task_queue_type: TaskQueueType::Activity.into(),
        update_queue_rate_limit: Some(RateLimitUpdate {
            rate_limit,
            reason: reason.to_owned(),
        }),
        ..UpdateTaskQueueConfigRequest::default()
    };
    let request = with_timeout(request, TIMEOUT);
    WorkflowService::update_task_queue_config(&mut client, request).await?;
    Ok(())
}

fn request(client: &Client, name: &str, tasks: Tasks) -> DescribeTaskQueueRequest {
    DescribeTaskQueueRequest {
        namespace: client.namespace(),
        task_queue: Some(TaskQueueMessage {
            name: name.to_owned(),
            ..TaskQueueMessage::default()
        }),
        task_queue_type: TaskQueueType::from(tasks).into(),
        ..DescribeTaskQueueRequest::default()
    }
}

async fn call(
    client: &Client,
    request: DescribeTaskQueueRequest,
) -> Result<DescribeTaskQueueResponse, Status> {
    let request = with_timeout(request, TIMEOUT);
    let described = WorkflowService::describe_task_queue(&mut client.clone(), request).await?;
    Ok(described.into_inner())
}
