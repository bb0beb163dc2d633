//! `DELETE /v1/keys/{key_id}`: revokes an API key.

use std::sync::Arc;

use darkroom_types::api_key::KeyId;
use poem::{
    IntoResponse, Response, handler,
    http::StatusCode,
    web::{Data, Path},
};

use super::managed;
use crate::{
    access::Admin,
    context::Context,
    problem::{Problem, problems},
};

problems!(Problems: NotFound, StorageUnavailable);

/// Revoke an API key
///
/// The key is rejected at once by the process that answers, and within five seconds by all others.
/// Streams and waits that it began are ended. Requires a key with the scope `admin`.
#[utoipa::path(
    delete, path = "/v1/keys/{key_id}", operation_id = "revokeApiKey", tag = "Keys",
    params(("key_id" = KeyId, Path, description = "The key's id.")),
    responses((status = 204, description = "The key is revoked."), Problems),
    security(("api_key" = [])),
)]
#[handler]
pub(crate) async fn revoke_api_key(
    Data(context): Data<&Arc<Context>>,
    admin: Admin,
    Path(key_id): Path<String>,
) -> Result<Response, Problem> {
    let no_such = || Problem::not_found("key");
    let key_id: KeyId = key_id.parse().map_err(|_| no_such())?;
    managed(&admin, Some(key_id.tenant().clone()))?;
    if !context.stored_keys.revoke(&key_id).await? {
        return Err(no_such());
    }
    tracing::info!(revoked = %key_id, "API key revoked");
    Ok(StatusCode::NO_CONTENT.into_response())
}
