//! Webhooks, in both directions.
//!
//! - `replicate`: what the provider reports
//! - `deliveries`: what we tell callers, and what came of it

mod deliveries;
mod replicate;

pub(crate) use self::replicate::MAX_REPORTS;

use std::sync::Arc;

use darkroom_workflows::tenant::Tenant;
use poem::{Body, Request, Response};
use poem_openapi::{OpenApi, param::Path};
use serde_json::json;

use self::{
    deliveries::{Deliveries, Redeliver},
    replicate::Report,
};
use crate::{
    Context,
    access::Caller,
    jobs,
    openapi::{
        Tag,
        operation::{Content, Operation, Outcome, Success},
    },
    problem::{Kind, Problem},
};

/// The operations on webhooks.
pub(crate) struct WebhooksApi(pub(crate) Arc<Context>);

#[OpenApi(prefix_path = "/v1", tag = "Tag::Webhooks")]
impl WebhooksApi {
    /// List the webhooks of a job
    ///
    /// What was sent of each end of the job, with every attempt and what came of it, for as long as Temporal keeps it.
    #[oai(
        path = "/jobs/:job_id/webhooks",
        method = "get",
        operation_id = "listWebhooks"
    )]
    async fn deliveries(&self, caller: Caller, job_id: Path<String>) -> Outcome<Deliveries> {
        let view = jobs::find(&self.0, &caller, &job_id.0).await?;
        Ok(deliveries::list(&self.0, &view.state).await?.into())
    }

    /// Send the webhook of a job again
    ///
    /// Makes an attempt now: the next one of a delivery that waits, or the first of another run if it is over.
    #[oai(
        path = "/jobs/:job_id/webhooks",
        method = "post",
        operation_id = "redeliverWebhook"
    )]
    async fn redeliver(&self, caller: Caller, job_id: Path<String>) -> Outcome<Redeliver> {
        let view = jobs::find(&self.0, &caller, &job_id.0).await?;
        Ok(deliveries::redeliver(&self.0, &view.state).await?.into())
    }

    /// Read the secret of webhooks
    ///
    /// What signs webhooks to you, for the Standard Webhooks library of your language. Each tenant has one of its own.
    #[oai(
        path = "/webhooks/secret",
        method = "get",
        operation_id = "getWebhookSecret"
    )]
    #[expect(clippy::unused_async, reason = "operations are asynchronous")]
    async fn secret(&self, caller: Caller) -> Outcome<Secret> {
        let secret = self.0.webhook_secret.as_ref().ok_or_else(|| {
            Problem::new(
                Kind::NoWebhook,
                "no webhooks are sent here: the operator has not set DARKROOM_WEBHOOK_SECRET",
            )
        })?;
        let key = secret.of(caller.tenant().map(Tenant::as_str)).to_text();
        let response = Response::builder()
            .content_type("application/json")
            .header("Cache-Control", "no-store");
        Ok(response.body(json!({ "key": key }).to_string()).into())
    }

    /// Take a report of Replicate's
    ///
    /// For the provider: its own word that a prediction has ended, signed as Standard Webhooks has it.
    #[oai(
        path = "/webhooks/replicate/:job_id/:submission_id",
        method = "post",
        operation_id = "reportPrediction"
    )]
    async fn report(
        &self,
        request: &Request,
        job_id: Path<String>,
        submission_id: Path<String>,
        body: Body,
    ) -> Outcome<Report> {
        let report = replicate::report(&self.0, request, &job_id.0, &submission_id.0, body);
        Ok(report.await?.into())
    }
}

/// Reading the secret of webhooks.
struct Secret;

impl Operation for Secret {
    const SUCCESSES: &'static [Success] = &[Success {
        status: 200,
        description: "The secret.",
        content: Content::WebhookSecret,
        headers: &[],
    }];
    const PROBLEMS: &'static [Kind] = &[Kind::NoWebhook];
}
