//! Which build gets work. Without a deployment, every worker gets any. With one, Temporal sends work to the build that is current,
//! and jobs under way move to it with their next step (`AutoUpgrade`), never back: their code is patched, not pinned, so that
//! old workers can go at any time.
//!
//! A person decides which build is current, except where jobs would wait for that person: when nobody else is there at the very
//! first, and when nobody of the current build is left.

use std::time::{Duration, Instant};

use darkroom_workflows::{PERSIST_QUEUE, WORKFLOW_QUEUE};
use temporalio_client::{
    Client, NamespacedClient,
    grpc::WorkflowService,
    tonic::{Code, IntoRequest, Status},
};
use temporalio_common::{
    protos::temporal::api::{
        enums::v1::{TaskQueueType, WorkerVersioningMode},
        taskqueue::v1::{PollerInfo, TaskQueue},
        workflowservice::v1::{
            DescribeTaskQueueRequest, DescribeWorkerDeploymentRequest,
            SetWorkerDeploymentCurrentVersionRequest,
        },
    },
    worker::{VersioningBehavior, WorkerDeploymentOptions, WorkerDeploymentVersion},
};

use crate::config::{Build, BuildId, DeploymentName, Queues};

/// How often to look which build is current.
const INTERVAL: Duration = Duration::from_secs(5);

/// The same while Temporal does not know this build: nobody works yet.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// After how long without a poll for workflow tasks the workers of a build are taken for gone: a poll takes a minute if nothing
/// comes, and there is always room for a short task.
const SILENCE: Duration = Duration::from_secs(90);

/// The same for outputs: while every place is taken nobody polls, and one is taken for half an hour at most.
const SILENCE_OF_OUTPUTS: Duration = Duration::from_mins(32);

/// How a worker introduces itself.
pub(crate) fn options(build: &Build) -> WorkerDeploymentOptions {
    match &build.deployment {
        // It names the build in histories, so that one sees which code did what.
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

/// Makes this build the current one whenever jobs would wait for a person to do so. It never returns.
pub(crate) async fn stand_in(
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
    let workflows = Watched::new(WORKFLOW_QUEUE, TaskQueueType::Workflow, SILENCE);
    let outputs = Watched::new(PERSIST_QUEUE, TaskQueueType::Activity, SILENCE_OF_OUTPUTS);
    let mut queues: Vec<_> = queues
        .generate
        .then_some(workflows)
        .into_iter()
        .chain(queues.persist.then_some(outputs))
        .collect();
    let mut said = None;
    loop {
        let standing = candidate.stand(&mut queues).await.unwrap_or_else(|status| {
            tracing::warn!(%status, "cannot tell which build is current");
            // Whoever polls may not have been able to either.
            queues.iter_mut().for_each(Watched::begin_again);
            Standing::Unknown
        });
        let wait = if standing == Standing::Unknown {
            FIRST_INTERVAL
        } else {
            INTERVAL
        };
        if said.as_ref() != Some(&standing) {
            candidate.say(&standing);
            said = Some(standing);
        }
        tokio::time::sleep(wait).await;
    }
}

/// A build that may become current.
struct Candidate {
    client: Client,
    deployment: DeploymentName,
    build: BuildId,
}

/// A queue of ours, and the last poll on it by a worker of the current build. Only Temporal's clock is compared with itself.
struct Watched {
    name: &'static str,
    kind: TaskQueueType,
    silence: Duration,
    /// The build that was current when it was looked at last.
    of: Option<String>,
    last_poll: Option<(i64, i32)>,
    /// Since when there was no later one.
    since: Instant,
}

impl Watched {
    fn new(name: &'static str, kind: TaskQueueType, silence: Duration) -> Self {
        Self {
            name,
            kind,
            silence,
            of: None,
            last_poll: None,
            since: Instant::now(),
        }
    }

    fn begin_again(&mut self) {
        self.since = Instant::now();
    }

    fn sees(&mut self, build: Option<&str>, poll: Option<(i64, i32)>) {
        let is_another = self.of.as_deref() != build;
        if is_another || poll > self.last_poll {
            self.of = build.map(str::to_owned);
            self.last_poll = poll;
            self.begin_again();
        }
    }

    fn is_silent(&self) -> bool {
        self.since.elapsed() >= self.silence
    }
}

/// What a build is to its deployment.
#[derive(Eq, PartialEq)]
enum Standing {
    /// Temporal does not know it yet, or does not tell.
    Unknown,
    /// It gets the work.
    Current,
    /// Another one does, or workers without a build.
    Waiting { current: Option<String> },
}

/// What Temporal says of a deployment that knows this build.
struct Described {
    current: Option<String>,
    /// Whether somebody has ever decided.
    is_decided: bool,
    conflict_token: Vec<u8>,
}

impl Candidate {
    /// Looks, and takes over if need be.
    async fn stand(&self, queues: &mut [Watched]) -> Result<Standing, Status> {
        let Some(Described {
            current,
            is_decided,
            conflict_token,
        }) = self.describe().await?
        else {
            return Ok(Standing::Unknown);
        };
        if current.as_deref() == Some(self.build.as_str()) {
            return Ok(Standing::Current);
        }
        for queue in &mut *queues {
            let poll = self.last_poll(queue, current.as_deref()).await?;
            queue.sees(current.as_deref(), poll);
        }
        // In a deployment that is new, there may be nobody whose work this build would take.
        let is_alone = !is_decided && queues.iter().all(|queue| queue.last_poll.is_none());
        if !is_alone && !queues.iter().any(Watched::is_silent) {
            return Ok(Standing::Waiting { current });
        }
        match self.take_over(conflict_token).await {
            Ok(()) => Ok(Standing::Current),
            // Another worker was faster, or this build does not serve every queue yet: look again.
            Err(status) if status.code() == Code::FailedPrecondition => {
                Ok(Standing::Waiting { current })
            }
            Err(status) => Err(status),
        }
    }

    /// Nothing if Temporal does not know this build.
    async fn describe(&self) -> Result<Option<Described>, Status> {
        let mut client = self.client.clone();
        let deployment_name = self.deployment.as_str().to_owned();
        let request = DescribeWorkerDeploymentRequest {
            namespace: client.namespace(),
            deployment_name,
        };
        let described =
            match WorkflowService::describe_worker_deployment(&mut client, request.into_request())
                .await
            {
                Ok(described) => described.into_inner(),
                Err(status) if status.code() == Code::NotFound => return Ok(None),
                Err(status) => return Err(status),
            };
        let info = described.worker_deployment_info.unwrap_or_default();
        let mut known = info
            .version_summaries
            .iter()
            .filter_map(|summary| summary.deployment_version.as_ref());
        if !known.any(|version| version.build_id == self.build.as_str()) {
            return Ok(None);
        }
        let routing = info.routing_config.unwrap_or_default();
        Ok(Some(Described {
            is_decided: routing.current_version_changed_time.is_some(),
            current: routing
                .current_deployment_version
                .map(|version| version.build_id),
            conflict_token: described.conflict_token,
        }))
    }

    async fn take_over(&self, conflict_token: Vec<u8>) -> Result<(), Status> {
        let mut client = self.client.clone();
        let request = SetWorkerDeploymentCurrentVersionRequest {
            namespace: client.namespace(),
            deployment_name: self.deployment.as_str().to_owned(),
            build_id: self.build.as_str().to_owned(),
            conflict_token,
            identity: client.identity(),
            ..Default::default()
        };
        WorkflowService::set_worker_deployment_current_version(&mut client, request.into_request())
            .await
            .map(drop)
    }

    /// When a worker of a build, or of none, polled a queue last, as far as Temporal remembers: some minutes.
    async fn last_poll(
        &self,
        queue: &Watched,
        build: Option<&str>,
    ) -> Result<Option<(i64, i32)>, Status> {
        let mut client = self.client.clone();
        let request = DescribeTaskQueueRequest {
            namespace: client.namespace(),
            task_queue: Some(TaskQueue {
                name: queue.name.to_owned(),
                ..Default::default()
            }),
            task_queue_type: queue.kind.into(),
            ..Default::default()
        };
        let described = WorkflowService::describe_task_queue(&mut client, request.into_request())
            .await?
            .into_inner();
        let polls = described
            .pollers
            .iter()
            .filter(|poller| self.is_of(poller, build));
        Ok(polls
            .filter_map(|poller| poller.last_access_time)
            .map(|time| (time.seconds, time.nanos))
            .max())
    }

    fn is_of(&self, poller: &PollerInfo, build: Option<&str>) -> bool {
        let options = poller.deployment_options.as_ref();
        let versioned = options
            .filter(|options| options.worker_versioning_mode() == WorkerVersioningMode::Versioned);
        match (versioned, build) {
            (None, None) => true,
            (Some(options), Some(build)) => {
                options.deployment_name == self.deployment.as_str() && options.build_id == build
            }
            _ => false,
        }
    }

    fn say(&self, standing: &Standing) {
        let (deployment, build) = (self.deployment.as_str(), self.build.as_str());
        match standing {
            Standing::Unknown => {}
            Standing::Current => tracing::info!(deployment, build, "this build is current"),
            Standing::Waiting { current } => tracing::warn!(
                deployment,
                build,
                current = current.as_deref().unwrap_or("unversioned"),
                "this build gets no work until it is current: temporal worker deployment set-current-version \
                 --deployment-name {deployment} --build-id {build}"
            ),
        }
    }
}
