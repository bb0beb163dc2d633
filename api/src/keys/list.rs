//! `GET /v1/keys`: the API keys of a tenant.

use std::sync::Arc;

use darkroom_types::{request::ListApiKeys, resource::ApiKeys};
use poem::{Response, handler, http::StatusCode, web::Data};

use super::managed;
use crate::{
    access::Admin,
    context::Context,
    json,
    problem::{Problem, problems},
    query::Query,
};

problems!(Problems: StorageUnavailable);

/// List API keys
///
/// Lists the keys that were issued over HTTP, not those of the operator's configuration. Requires a
/// key with the scope `admin`.
#[utoipa::path(
    get, path = "/v1/keys", operation_id = "listApiKeys", tag = "Keys",
    params(ListApiKeys),
    responses((status = 200, description = "The keys.", body = ApiKeys), Problems),
    security(("api_key" = [])),
)]
#[handler]
pub(crate) async fn list_api_keys(
    Data(context): Data<&Arc<Context>>,
    admin: Admin,
    Query(parameters): Query<ListApiKeys>,
) -> Result<Response, Problem> {
    let tenant = managed(&admin, parameters.tenant)?;
    let keys = context.stored_keys.list(&tenant).await?;
    json::answer(StatusCode::OK, &ApiKeys { keys })
}
