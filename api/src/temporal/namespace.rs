//! Whether the namespace is there, with the search attributes that jobs are found by. Who lacks one sees which, and what to do.

use std::time::Duration;

use darkroom_workflows::search_attributes;
use jiff::SignedDuration;
use temporalio_client::{
    Client, NamespacedClient,
    grpc::{OperatorService, WorkflowService},
    tonic::{Code, Status},
};
use temporalio_common::protos::temporal::api::{
    operatorservice::v1::ListSearchAttributesRequest,
    workflowservice::v1::{DescribeNamespaceRequest, DescribeNamespaceResponse},
};

use super::limited;
use crate::problem::Problem;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What jobs cannot do without.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Lacking {
    /// Nobody answers.
    #[error("Temporal cannot be reached")]
    Temporal,
    /// The namespace is missing.
    #[error("the namespace {0} is missing: temporal operator namespace create --namespace {0}")]
    Namespace(String),
    /// A search attribute of it is.
    #[error(
        "the search attribute {0} is missing: temporal operator search-attribute create --name {0} --type Keyword"
    )]
    SearchAttribute(&'static str),
}

/// Looks for the namespace.
pub(crate) async fn check(client: &Client) -> Result<(), Lacking> {
    match describe(client).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => {
            Err(Lacking::Namespace(client.namespace()))
        }
        // Whoever may not look may well be let to start workflows.
        Err(status) if status.code() == Code::PermissionDenied => Ok(()),
        Err(_) => Err(Lacking::Temporal),
    }
}

/// How long the namespace keeps a workflow that has closed.
///
/// # Errors
/// If Temporal does not say.
pub(crate) async fn retention(client: &Client) -> Result<SignedDuration, Problem> {
    let described = describe(client).await;
    let described = described.map_err(|status| super::problem(&status))?;
    let config = described.config.unwrap_or_default();
    let retention = config.workflow_execution_retention_ttl;
    retention
        .map(|retention| SignedDuration::from_secs(retention.seconds))
        .ok_or_else(super::away)
}

async fn describe(client: &Client) -> Result<DescribeNamespaceResponse, Status> {
    let request = DescribeNamespaceRequest {
        namespace: client.namespace(),
        ..DescribeNamespaceRequest::default()
    };
    let request = limited(request, TIMEOUT);
    let described = WorkflowService::describe_namespace(&mut client.clone(), request).await?;
    Ok(described.into_inner())
}

/// Looks for the search attributes of a namespace that is there.
pub(crate) async fn check_search_attributes(client: &Client) -> Result<(), Lacking> {
    let request = ListSearchAttributesRequest {
        namespace: client.namespace(),
    };
    let request = limited(request, TIMEOUT);
    match OperatorService::list_search_attributes(&mut client.clone(), request).await {
        Ok(listed) => {
            let known = listed.into_inner().custom_attributes;
            let missing = search_attributes::NAMES
                .into_iter()
                .find(|name| !known.contains_key(*name));
            missing.map_or(Ok(()), |name| Err(Lacking::SearchAttribute(name)))
        }
        // A service that hosts namespaces shows them to nobody.
        Err(status) if is_withheld(&status) => Ok(()),
        Err(_) => Err(Lacking::Temporal),
    }
}

fn is_withheld(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented
    )
}
