//! Which build gets work. Without a deployment, every worker gets any. With one, Temporal sends
//! work to the build that is current, and jobs under way move to it with their next step
//! (`AutoUpgrade`), never back: their code is patched, not pinned, so that old workers can go at
//! any time.
//!
//! A person decides which build is current, except where jobs would wait for that person: when
//! nobody else is there at the very first, and when nobody of the current build is left.

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

/// How often to look which build is current.
const INTERVAL: Duration = Duration::from_secs(5);

/// The same while Temporal does not know this build: nobody works yet.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// After how long without a poll for workflow tasks the workers of a build are taken for gone: a
/// poll takes a minute if nothing comes, and there is always room for a short task.
const SILENCE: Duration = Duration::from_secs(90);

/// The same for outputs: while every place is taken nobody polls, and one is taken for half an hour
/// at most.
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

/// Makes this build the current one whenever jobs would wait for a person to do so. It never
/// returns.
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
    let workflows = Watched::new(WORKFLOW_QUEUE, Tasks::Workflow, SILENCE);
    let outputs = Watched::new(PERSIST_QUEUE, Tasks::Activity, SILENCE_OF_OUTPUTS);
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

/// A queue of ours, and the last poll on it by a worker of the current build. Only Temporal's clock
/// is compared with itself.
struct Watched {
    name: &'static str,
    tasks: Tasks,
    silence: Duration,
    /// The build that was current when it was looked at last.
    of: Option<String>,
    last_poll: Option<SystemTime>,
    /// Since when there was no later one.
    since: Instant,
}

impl Watched {
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

    fn begin_again(&mut self) {
        self.since = Instant::now();
    }

    fn sees(&mut self, build: Option<&str>, poll: Option<SystemTime>) {
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

impl Candidate {
    /// Looks, and takes over if need be.
    async fn stand(&self, queues: &mut [Watched]) -> Result<Standing, Status> {
        let deployment = deployments::describe(&self.client, self.deployment.as_str()).await?;
        let is_known = |known: &Deployment| {
            let build = self.build.as_str();
            known.build_ids.iter().any(|known| known == build)
        };
        let Some(deployment) = deployment.filter(is_known) else {
            return Ok(Standing::Unknown);
        };
        let current = deployment.current_build_id;
        if current.as_deref() == Some(self.build.as_str()) {
            return Ok(Standing::Current);
        }
        for queue in &mut *queues {
            let poll = self.last_poll(queue, current.as_deref()).await?;
            queue.sees(current.as_deref(), poll);
        }
        // In a deployment that is new, there may be nobody whose work this build would take.
        let is_alone = !deployment.was_set && queues.iter().all(|queue| queue.last_poll.is_none());
        if !is_alone && !queues.iter().any(Watched::is_silent) {
            return Ok(Standing::Waiting { current });
        }
        match self.take_over(deployment.conflict_token).await {
            Ok(()) => Ok(Standing::Current),
            // Another worker was faster, or this build does not serve every queue yet: look again.
            Err(status) if status.code() == Code::FailedPrecondition => {
                Ok(Standing::Waiting { current })
            }
            Err(status) => Err(status),
        }
    }

    async fn take_over(&self, conflict_token: Vec<u8>) -> Result<(), Status> {
        let (deployment, build) = (self.deployment.as_str(), self.build.as_str());
        deployments::set_current(&self.client, deployment, build, conflict_token).await
    }

    /// Time of the last poll of a queue by a worker of a build, or of none, as far as Temporal
    /// remembers: some minutes.
    async fn last_poll(
        &self,
        queue: &Watched,
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
