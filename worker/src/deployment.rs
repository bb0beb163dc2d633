//! Which build gets work. Without a deployment, every worker gets any. With one, Temporal sends work to the build that is current,
//! and jobs under way move to it with their next step (`AutoUpgrade`), never back: their code is patched, not pinned, so that
//! old workers can go at any time.

use std::time::Duration;

use temporalio_client::{
    Client, NamespacedClient,
    grpc::WorkflowService,
    tonic::{Code, IntoRequest, Status},
};
use temporalio_common::{
    protos::temporal::api::workflowservice::v1::{
        DescribeWorkerDeploymentRequest, SetWorkerDeploymentCurrentVersionRequest,
    },
    worker::{VersioningBehavior, WorkerDeploymentOptions, WorkerDeploymentVersion},
};

use crate::config::{Build, BuildId, DeploymentName};

/// How often to look whether Temporal knows this build.
const INTERVAL: Duration = Duration::from_secs(1);

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

/// Makes this build the current one if there never was one: a new deployment works at once. Later builds wait until somebody says
/// `temporal worker deployment set-current-version`; a process that comes back must not undo that.
pub(crate) async fn first_promotion(client: Client, deployment: DeploymentName, build: BuildId) {
    let (name, id) = (deployment.as_str(), build.as_str());
    loop {
        match promote(&client, name, id).await {
            Ok(Promotion::Unknown) => {}
            Ok(Promotion::Made) => return tracing::info!(deployment = name, build = id, "the first build is current"),
            Ok(Promotion::IsCurrent) => return tracing::info!(deployment = name, build = id, "this build is current"),
            Ok(Promotion::AnotherIs(current)) => {
                return tracing::warn!(
                    deployment = name,
                    build = id,
                    current,
                    "this build gets no work until it is current: temporal worker deployment set-current-version \
                     --deployment-name {name} --build-id {id}"
                );
            }
            Err(status) => tracing::warn!(%status, deployment = name, "cannot tell which build is current"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

enum Promotion {
    /// Temporal does not know this build yet.
    Unknown,
    Made,
    IsCurrent,
    AnotherIs(String),
}

async fn promote(client: &Client, name: &str, id: &str) -> Result<Promotion, Status> {
    let mut client = client.clone();
    let request = DescribeWorkerDeploymentRequest { namespace: client.namespace(), deployment_name: name.to_owned() };
    let described = match WorkflowService::describe_worker_deployment(&mut client, request.into_request()).await {
        Ok(described) => described.into_inner(),
        Err(status) if status.code() == Code::NotFound => return Ok(Promotion::Unknown),
        Err(status) => return Err(status),
    };
    let Some(info) = described.worker_deployment_info else { return Ok(Promotion::Unknown) };
    let is_known = info
        .version_summaries
        .iter()
        .any(|summary| summary.deployment_version.as_ref().is_some_and(|version| version.build_id == id));
    let routing = info.routing_config.unwrap_or_default();
    let current = routing.current_deployment_version.map(|version| version.build_id);
    match current {
        Some(current) if current == id => return Ok(Promotion::IsCurrent),
        Some(current) => return Ok(Promotion::AnotherIs(current)),
        // Somebody has decided that unversioned workers get the work.
        None if routing.current_version_changed_time.is_some() => {
            return Ok(Promotion::AnotherIs("unversioned".to_owned()));
        }
        None if !is_known => return Ok(Promotion::Unknown),
        None => {}
    }
    let request = SetWorkerDeploymentCurrentVersionRequest {
        namespace: client.namespace(),
        deployment_name: name.to_owned(),
        build_id: id.to_owned(),
        conflict_token: described.conflict_token,
        identity: client.identity(),
        ..Default::default()
    };
    match WorkflowService::set_worker_deployment_current_version(&mut client, request.into_request()).await {
        Ok(_) => Ok(Promotion::Made),
        // Another worker was first: look again.
        Err(status) if status.code() == Code::FailedPrecondition => Ok(Promotion::Unknown),
        Err(status) => Err(status),
    }
}
