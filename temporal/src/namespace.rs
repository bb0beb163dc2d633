//! Checks of the namespace and its search attributes. An error names the command that creates what
//! is missing.

use std::time::Duration;

use temporalio_client::{
    Client, NamespacedClient,
    grpc::{OperatorService, WorkflowService},
    tonic::{Code, Status},
};
use temporalio_common::protos::temporal::api::{
    operatorservice::v1::ListSearchAttributesRequest,
    workflowservice::v1::{DescribeNamespaceRequest, DescribeNamespaceResponse},
};

use crate::call::with_timeout;

/// Timeout of one call.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A missing part of Temporal. The message contains the command that creates it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Missing {
    /// The server cannot be reached.
    #[error("Temporal cannot be reached")]
    Temporal,
    /// The namespace is missing.
    #[error("the namespace {0} is missing: temporal operator namespace create --namespace {0}")]
    Namespace(String),
    /// A search attribute of the namespace is missing.
    #[error(
        "the search attribute {0} is missing: temporal operator search-attribute create --name {0} --type Keyword, or on Temporal Cloud tcld namespace search-attributes add --sa {0}=Keyword"
    )]
    SearchAttribute(&'static str),
}

/// Checks that the namespace exists.
///
/// # Errors
/// If the namespace does not exist, or the server cannot be reached.
pub async fn check(client: &Client) -> Result<(), Missing> {
    match describe(client).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => {
            Err(Missing::Namespace(client.namespace()))
        }
        // A client that may not describe namespaces may still be allowed to start workflows.
        Err(status) if status.code() == Code::PermissionDenied => Ok(()),
        Err(_) => Err(Missing::Temporal),
    }
}

/// Returns the retention period of the namespace: the time for which closed runs are kept. `None`
/// if Temporal does not report it.
///
/// # Errors
/// If the call fails.
pub async fn retention(client: &Client) -> Result<Option<Duration>, Status> {
    let config = describe(client).await?.config.unwrap_or_default();
    let retention = config.workflow_execution_retention_ttl;
    Ok(retention.and_then(|retention| retention.try_into().ok()))
}

async fn describe(client: &Client) -> Result<DescribeNamespaceResponse, Status> {
    let request = DescribeNamespaceRequest {
        namespace: client.namespace(),
        ..DescribeNamespaceRequest::default()
    };
    let request = with_timeout(request, TIMEOUT);
    let described = WorkflowService::describe_namespace(&mut client.clone(), request).await?;
    Ok(described.into_inner())
}

/// Checks that the namespace has these search attributes.
///
/// # Errors
/// If one of them is missing, or the server cannot be reached.
pub async fn check_search_attributes(
    client: &Client,
    names: &[&'static str],
) -> Result<(), Missing> {
    let request = ListSearchAttributesRequest {
        namespace: client.namespace(),
    };
    let request = with_timeout(request, TIMEOUT);
    match OperatorService::list_search_attributes(&mut client.clone(), request).await {
        Ok(listed) => {
            let known = listed.into_inner().custom_attributes;
            let missing = names.iter().find(|name| !known.contains_key(**name));
            missing.map_or(Ok(()), |name| Err(Missing::SearchAttribute(name)))
        }
        // A hosted service may not let clients list search attributes.
        Err(status) if is_withheld(&status) => Ok(()),
        Err(_) => Err(Missing::Temporal),
    }
}

fn is_withheld(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented
    )
}
