//! Versions of a worker deployment: describing them, and setting the current version. The worker
//! decides when to set it.

use std::time::Duration;

use temporalio_client::{
    Client, NamespacedClient,
    grpc::WorkflowService,
    tonic::{Code, Status},
};
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkerDeploymentRequest, SetWorkerDeploymentCurrentVersionRequest,
};

use crate::call::with_timeout;

/// Timeout of one call.
const TIMEOUT: Duration = Duration::from_secs(10);

/// State of a worker deployment.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Build ids of its versions.
    pub build_ids: Vec<String>,
    /// Build id of the current version; `None` while unversioned workers get the tasks.
    pub current_build_id: Option<String>,
    /// True if the current version has ever been set.
    pub was_set: bool,
    /// Token of this state. A change with it fails if another change came first.
    pub conflict_token: Vec<u8>,
}

/// Describes a worker deployment; `None` if it does not exist.
///
/// # Errors
/// If the call fails.
pub async fn describe(client: &Client, name: &str) -> Result<Option<Deployment>, Status> {
    let mut client = client.clone();
    let request = DescribeWorkerDeploymentRequest {
        namespace: client.namespace(),
        deployment_name: name.to_owned(),
    };
    let request = with_timeout(request, TIMEOUT);
    let described = match WorkflowService::describe_worker_deployment(&mut client, request).await {
        Ok(described) => described.into_inner(),
        Err(status) if status.code() == Code::NotFound => return Ok(None),
        Err(status) => return Err(status),
    };
    let info = described.worker_deployment_info.unwrap_or_default();
    let versions = info.version_summaries.into_iter();
    let routing = info.routing_config.unwrap_or_default();
    let current = routing.current_deployment_version;
    Ok(Some(Deployment {
        build_ids: versions
            .filter_map(|summary| Some(summary.deployment_version?.build_id))
            .collect(),
        current_build_id: current.map(|version| version.build_id),
        was_set: routing.current_version_changed_time.is_some(),
        conflict_token: described.conflict_token,
    }))
}

/// Sets the current version of a deployment.
///
/// # Errors
/// If the call fails; with `FailedPrecondition` if another change came first, or the workers of
/// this version do not poll every task queue of the current version.
pub async fn set_current(
    client: &Client,
    name: &str,
    build_id: &str,
    conflict_token: Vec<u8>,
) -> Result<(), Status> {
    let mut client = client.clone();
    let request = SetWorkerDeploymentCurrentVersionRequest {
        namespace: client.namespace(),
        deployment_name: name.to_owned(),
        build_id: build_id.to_owned(),
        conflict_token,
        identity: client.identity(),
        ..SetWorkerDeploymentCurrentVersionRequest::default()
    };
    let request = with_timeout(request, TIMEOUT);
    WorkflowService::set_worker_deployment_current_version(&mut client, request).await?;
    Ok(())
}
