//! `POST /v1/webhooks/replicate/{job_id}`: the provider's own word that a prediction has ended. It only says when to look:
//! the outputs are read from the provider itself.

use darkroom_workflows::{
    MediaGeneration,
    job::{JobId, PredictionStatus},
    media_generation::PredictionReport,
    webhook_secret::Signed,
};
use jiff::Timestamp;
use poem::{Body, IntoResponse, Request, Response, http::StatusCode};
use serde::Deserialize;
use temporalio_client::{WorkflowSignalOptions, errors::WorkflowInteractionError};

use crate::{
    Context, json,
    openapi::operation::{Content, Operation, Success},
    problem::{Kind, Problem},
    temporal,
};

/// The largest report that is read: it carries the whole prediction.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// How many reports are read at a time.
pub(crate) const MAX_REPORTS: usize = 8;

/// Taking a report.
pub(super) struct Report;

impl Operation for Report {
    const SUCCESSES: &'static [Success] = &[Success {
        status: 204,
        description: "The report is taken.",
        content: Content::None,
        headers: &[],
    }];
    const PROBLEMS: &'static [Kind] = &[Kind::Malformed, Kind::RequestTimeout, Kind::TooLarge];
}

pub(super) async fn report(
    context: &Context,
    request: &Request,
    job_id: &str,
    body: Body,
) -> Result<Response, Problem> {
    let signed = Signed {
        id: request.header("webhook-id").unwrap_or_default(),
        timestamp: request.header("webhook-timestamp").unwrap_or_default(),
        signature: request.header("webhook-signature").unwrap_or_default(),
    };
    let not_genuine = || {
        Problem::new(
            Kind::Unauthenticated,
            "the report is not signed by the provider, or not just now",
        )
    };
    let secret = context
        .replicate_secret
        .as_ref()
        .filter(|_| signed.is_plausible(Timestamp::now()));
    let secret = secret.ok_or_else(not_genuine)?;
    // Whoever reports is unknown until the body is read, so few are read at a time.
    let _turn = context.reports.acquire().await;
    let body = json::read_bytes(body, MAX_BODY).await?;
    if !secret.verifies(signed, &body, Timestamp::now()) {
        return Err(not_genuine());
    }
    let prediction: Prediction = serde_json::from_slice(&body).map_err(|error| {
        Problem::new(
            Kind::Malformed,
            format!("the report makes no sense: {error}"),
        )
    })?;
    if prediction.status.is_terminal()
        && let Ok(job_id) = job_id.parse()
    {
        signal(context, &job_id, signed.id, prediction).await?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Tells the workflow. Temporal drops a signal whose request id it has seen, so a repeated report has no effect.
async fn signal(
    context: &Context,
    job_id: &JobId,
    webhook_id: &str,
    prediction: Prediction,
) -> Result<(), Problem> {
    let handle = context
        .temporal
        .client()?
        .get_workflow_handle::<MediaGeneration>(job_id.as_str());
    let report = PredictionReport {
        prediction_id: prediction.id,
        status: prediction.status,
    };
    let options = WorkflowSignalOptions::builder()
        .request_id(webhook_id.to_owned())
        .rpc_options(temporal::rpc_options())
        .build();
    match handle
        .signal(MediaGeneration::prediction_reported, report, options)
        .await
    {
        // A job that has ended needs no report.
        Ok(()) | Err(WorkflowInteractionError::NotFound(_)) => Ok(()),
        Err(WorkflowInteractionError::Rpc(status)) => Err(temporal::problem(&status)),
        Err(error) => {
            tracing::error!(%job_id, %error, "cannot signal a workflow");
            Err(Problem::internal())
        }
    }
}

/// What we read of a report.
#[derive(Deserialize)]
struct Prediction {
    id: String,
    status: PredictionStatus,
}
