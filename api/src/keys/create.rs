//! `POST /v1/keys`: issues an API key.

use std::sync::Arc;

use darkroom_types::{api_key::KeyId, request::CreateApiKey, resource::CreatedApiKey};
use jiff::Timestamp;
use poem::{Response, handler, http::StatusCode, web::Data};

use uuid::Uuid;

use super::managed;
use crate::{
    access::{Admin, MAX_KEYS, StoredKey},
    context::Context,
    json::{self, Json},
    problem::{Kind, Problem, problems},
};

/// Limit of models that a key may name.
const MAX_MODELS: usize = 50;

problems!(
    Problems: Malformed, RequestTimeout, TooLarge, UnsupportedMediaType, InvalidRequest, TooManyKeys,
    StorageUnavailable,
);

/// Create an API key
///
/// Returns the key once; only its SHA-256 is stored. The key is valid at once, through every
/// process. Requires a key with the scope `admin`.
#[utoipa::path(
    post, path = "/v1/keys", operation_id = "createApiKey", tag = "Keys",
    request_body = CreateApiKey,
    responses((status = 201, description = "The key.", body = CreatedApiKey), Problems),
    security(("api_key" = [])),
)]
#[handler]
pub(crate) async fn create_api_key(
    Data(context): Data<&Arc<Context>>,
    admin: Admin,
    Json(body): Json<CreateApiKey>,
) -> Result<Response, Problem> {
    check(&admin, &body)?;
    let tenant = managed(&admin, body.tenant)?;
    if context.stored_keys.ids(&tenant).await?.len() >= MAX_KEYS {
        let detail = format!("{tenant} has {MAX_KEYS} keys, and that is the limit; revoke some");
        return Err(Problem::new(Kind::TooManyKeys, detail));
    }
    let digits = Uuid::new_v4().simple().to_string();
    let key_id = KeyId::new(tenant, &digits[..16]).map_err(|_| Problem::internal())?;
    let (key, text) = StoredKey::generate(
        key_id,
        body.name,
        body.scopes,
        body.models,
        Timestamp::now(),
        body.expires_at,
    );
    context.stored_keys.create(&key).await?;
    tracing::info!(created = %key.key_id, "API key issued");
    let created = CreatedApiKey {
        key: text,
        api_key: key.resource(None),
    };
    json::answer_secret(StatusCode::CREATED, &created)
}

fn check(admin: &Admin, body: &CreateApiKey) -> Result<(), Problem> {
    if body.scopes.is_empty() {
        return Err(Problem::invalid_field(
            "/scopes",
            "must have at least one scope",
        ));
    }
    if body.models.len() > MAX_MODELS {
        return Err(Problem::invalid_field(
            "/models",
            "must have at most 50 models",
        ));
    }
    if body.expires_at.is_some_and(|end| end <= Timestamp::now()) {
        return Err(Problem::invalid_field(
            "/expires_at",
            "must be in the future",
        ));
    }
    let outlives = |end: Timestamp| body.expires_at.is_none_or(|wanted| wanted > end);
    if admin.expires_at().is_some_and(outlives) {
        let detail = "a key cannot issue keys that outlive it; set an earlier expires_at";
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    let is_within = body
        .models
        .iter()
        .all(|model| admin.models().contains(model));
    if !admin.models().is_empty() && (body.models.is_empty() || !is_within) {
        let detail = "the key is limited to some models, and can issue keys only for these";
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    Ok(())
}
