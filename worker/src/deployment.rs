//! Worker Versioning, and the promotion of this build to the current version. Without a deployment,
//! every worker gets any task. With one, Temporal sends tasks to the current version. Open jobs
//! move to it with their next workflow task (`AutoUpgrade`) and never back: workflow code is
//! patched, not pinned, so that old workers can be stopped at any time.
//!
//! The operator sets the current version. A worker promotes its own build only if jobs would wait
//! otherwise: in a new deployment without other workers, and when no worker of the current version
//! polls any more.

use std::time::{Duration, Instant, SystemTime};

use darkroom_temporal::{
    deployments::{self, Deployment},
    task_queues::{self, Poller, Tasks},
};
use darkroom_workflows::{PERSIST_QUEUE, WORKFLOW_QUEUE};
use temporalio_client::{
    Client,
    tonic::{Code, Status},
};
use temporalio_common::worker::{
    VersioningBehavior, WorkerDeploymentOptions, WorkerDeploymentVersion,
};

use crate::config::{Build, BuildId, DeploymentName, Queues};

/// Interval between two checks of the version status.
const INTERVAL: Duration = Duration::from_secs(5);

/// Interval between two checks while Temporal does not know this build, which gets no tasks yet.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// Time without a poll for workflow tasks after which the workers of a version count as gone. A
/// long poll takes a minute if there is no task, and workflow tasks are short, so a slot is always
/// free.
const POLL_TIMEOUT: Duration = Duration::from_secs(90);

/// The same for outputs: a worker does not poll while all its slots are taken, and an output takes
/// one for half an hour at most.
const OUTPUTS_POLL_TIMEOUT: Duration = Duration::from_mins(32);

/// Returns the deployment options of a worker.
pub(crate) fn options(build: &Build) -> WorkerDeploymentOptions {
    match &build.deployment {
        // The build id appears in histories, which shows the code that ran each task.
        None => WorkerDeploymentOptions::from_build_id(build.id.as_str().to_owned()),
        Some(deployment) => {
            let version = WorkerDeploymentVersion::builder()
                .deployment_name(deployment.as_str())
                .build_id(build.id.as_str())
                .build();
            WorkerDeploymentOptions::new(version)
                .use_worker_versioning(true)
                .default_versioning_behavior(VersioningBehavior::AutoUpgrade)
                .build()
        }
    }
}

/// Promotes this build to the current version whenever jobs would have to wait for the operator.
/// Never returns.
pub(crate) async fn promote_when_idle(
    client: Client,
    deployment: DeploymentName,
    build: BuildId,
    queues: Queues,
) {
    let candidate = Candidate {
        client,
        deployment,
        build,
    };
    let workflows = WatchedQueue::new(WORKFLOW_QUEUE, Tasks::Workflow, POLL_TIMEOUT);
    let outputs = WatchedQueue::new(PERSIST_QUEUE, Tasks::Activity, OUTPUTS_POLL_TIMEOUT);
    let mut queues: Vec<_> = queues
        .generate
        .then_some(workflows)
        .into_iter()
        .chain(queues.persist.then_some(outputs))
        .collect();
    let mut logged = None;
    loop {
        let status = candidate.check(&mut queues).await.unwrap_or_else(|status| {
            tracing::warn!(%status, "cannot read the version status of this build");
            // Other workers may not have been able to poll either: their silence starts anew.
            queues.iter_mut().for_each(WatchedQueue::restart);
            VersionStatus::Unknown
        });
        let wait = if status == VersionStatus::Unknown {
            FIRST_INTERVAL
        } else {
            INTERVAL
        };
        if logged.as_ref() != Some(&status) {
            candidate.log(&status);
            logged = Some(status);
        }
        tokio::time::sleep(wait).await;
    }
}

/// The build that may be promoted.
struct Candidate {
    client: Client,
    deployment: DeploymentName,
    build: BuildId,
}

/// A task queue of this worker, and the last poll on it by a worker of the current version. Times
/// of polls are by the server's clock and are compared with each other only.
struct WatchedQueue {
    name: &'static str,
    tasks: Tasks,
    silence: Duration,
    /// Build id of the current version at the last check.
    of: Option<String>,
    last_poll: Option<SystemTime>,
    /// Start of the time without a later poll.
    since: Instant,
}

impl WatchedQueue {
    fn new(name: &'static str, tasks: Tasks, silence: Duration) -> Self {
        Self {
            name,
            tasks,
            silence,
            of: None,
            last_poll: None,
            since: Instant::now(),
        }
    }

    fn restart(&mut self) {
        self.since = Instant::now();
    }

    fn observe(&mut self, build: Option<&str>, poll: Option<SystemTime>) {
        let is_another = self.of.as_deref() != build;
        if is_another || poll > self.last_poll {
            self.of = build.map(str::to_owned);
            self.last_poll = poll;
            self.restart();
        }
    }

    fn is_idle(&self) -> bool {
        self.since.elapsed() >= self.silence
    }
}

/// Version status of this build in its deployment.
#[derive(Eq, PartialEq)]
enum VersionStatus {
    /// Unknown status: Temporal does not know the version yet, or the check failed.
    Unknown,
    /// Current version, which gets the tasks.
    Current,
    /// Version that is not current: another one is, or unversioned workers get the tasks.
    Waiting { current: Option<String> },
}

impl Candidate {
    /// Returns the version status, after a promotion if one was necessary.
    async fn check(&self, queues: &mut [WatchedQueue]) -> Result<VersionStatus, Status> {
        let deployment = deployments::describe(&self.client, self.deployment.as_str()).await?;
        let is_known = |known: &Deployment| {
            let build = self.build.as_str();
            known.build_ids.iter().any(|known| known == build)
        };
        let Some(deployment) = deployment.filter(is_known) else {
            return Ok(VersionStatus::Unknown);
        };
        let current = deployment.current_build_id;
        if current.as_deref() == Some(self.build.as_str()) {
            return Ok(VersionStatus::Current);
        }
        for queue in &mut *queues {
            let poll = self.last_poll(queue, current.as_deref()).await?;
            queue.observe(current.as_deref(), poll);
        }
        // A new deployment may have no other worker that gets tasks.
        let is_alone = !deployment.was_set && queues.iter().all(|queue| queue.last_poll.is_none());
        if !is_alone && !queues.iter().any(WatchedQueue::is_idle) {
            return Ok(VersionStatus::Waiting { current });
        }
        match self.promote(deployment.conflict_token).await {
            Ok(()) => Ok(VersionStatus::Current),
            // Another worker was faster, or this build does not poll every queue yet: retried.
            Err(status) if status.code() == Code::FailedPrecondition => {
                Ok(VersionStatus::Waiting { current })
            }
            Err(status) => Err(status),
        }
    }

    async fn promote(&self, conflict_token: Vec<u8>) -> Result<(), Status> {
        let (deployment, build) = (self.deployment.as_str(), self.build.as_str());
        deployments::set_current(&self.client, deployment, build, conflict_token).await
    }

    /// Returns the time of the last poll of a queue by a worker of this version, or by an
    /// unversioned worker. Temporal keeps polls for some minutes.
    async fn last_poll(
        &self,
        queue: &WatchedQueue,
        build: Option<&str>,
    ) -> Result<Option<SystemTime>, Status> {
        let described = task_queues::describe(&self.client, queue.name, queue.tasks).await?;
        let pollers = described.pollers.iter();
        let polls = pollers.filter(|poller| self.is_of(poller, build));
        Ok(polls.filter_map(|poller| poller.last_access).max())
    }

    fn is_of(&self, poller: &Poller, build: Option<&str>) -> bool {
        match (&poller.version, build) {
            (None, None) => true,
            (Some(version), Some(build)) => {
                version.deployment == self.deployment.as_str() && version.build_id == build
            }
            _ => false,
        }
    }

    fn log(&self, status: &VersionStatus) {
        let (deployment, build) = (self.deployment.as_str(), self.build.as_str());
        match status {
            VersionStatus::Unknown => {}
            VersionStatus::Current => tracing::info!(deployment, build, "this build is current"),
            VersionStatus::Waiting { current } => tracing::warn!(
                deployment,
                build,
                current = current.as_deref().unwrap_or("unversioned"),
                "this build gets no work until it is current: temporal worker deployment set-current-version \
                 --deployment-name {deployment} --build-id {build}"
            ),
        }
    }
}
