//! `GET /v1/webhooks/secret`: the secret that signs the webhooks of a tenant.

use std::sync::Arc;

use darkroom_types::{api_key::Scope, resource::WebhookSecret};
use poem::{Response, handler, http::StatusCode, web::Data};

use crate::{
    access::Caller,
    context::Context,
    json,
    problem::{Kind, Problem, problems},
};

problems!(Problems: NoWebhook);

/// Read the webhook secret
///
/// Returns the secret that signs your webhooks, for the Standard Webhooks library of your language.
/// Each tenant has its own. Requires a key with the scope `write`.
#[utoipa::path(
    get, path = "/v1/webhooks/secret", operation_id = "getWebhookSecret", tag = "Webhooks",
    responses((status = 200, description = "The secret.", body = WebhookSecret), Problems),
    security(("api_key" = [])),
)]
#[handler]
#[expect(clippy::needless_pass_by_value, reason = "extractors yield values")]
pub(crate) fn get_webhook_secret(
    Data(context): Data<&Arc<Context>>,
    caller: Caller,
) -> Result<Response, Problem> {
    // A caller with the secret can forge messages.
    caller.require(Scope::Write)?;
    let secret = context.webhook_secret.as_ref().ok_or_else(|| {
        let detail = "webhooks are disabled: the operator has not set DARKROOM_WEBHOOK_SECRET";
        Problem::new(Kind::NoWebhook, detail)
    })?;
    let secret = secret.of(caller.tenant());
    let body = WebhookSecret {
        key: secret.to_text(),
    };
    json::answer_secret(StatusCode::OK, &body)
}
