//! `POST /v1/webhooks/replicate/{job_id}/{submission_id}`: a signed report of the provider that a
//! prediction has ended. It only triggers a poll: the outputs are read from the provider itself.

use std::sync::Arc;

use darkroom_providers::replicate::report::{self, Report as ProviderReport, ReportError};
use darkroom_temporal::runs::pending_activities;
use darkroom_workflows::{
    MediaGeneration,
    contract::generate::GenerateRecord,
    job::{
        JobId, PredictionRef, PredictionStatus, ProviderName, ProviderState, Retry, SubmissionId,
    },
    media_generation::{PredictionReport, Start},
    webhook_secret::Signed,
};
use jiff::{SignedDuration, Timestamp};
use poem::{
    Body, IntoResponse, Request, Response, handler,
    http::StatusCode,
    web::{Data, Path},
};
use temporalio_client::{
    Client, WorkflowHandle, WorkflowSignalOptions, errors::WorkflowInteractionError,
};

use crate::{
    context::Context,
    jobs::{self, Run},
    json,
    problem::{Kind, Problem, problems},
    temporal,
};

/// Runtime of a prediction below which its report is ignored while the attempt that submitted it is
/// running: that attempt polls for 6 s, and sees the end itself.
const IGNORED_BELOW: SignedDuration = SignedDuration::from_secs(4);

/// Size limit of a report, in bytes: it carries the whole prediction.
const MAX_BODY: usize = 8 * 1024 * 1024;

problems!(Problems: Malformed, RequestTimeout, StorageUnavailable, TooLarge);

/// Receive a report from Replicate
///
/// For the provider: a report that a prediction has ended, signed according to Standard Webhooks.
#[utoipa::path(
    post, path = "/v1/webhooks/replicate/{job_id}/{submission_id}", operation_id = "reportPrediction", tag = "Webhooks",
    params(
        ("job_id" = JobId, Path, description = "The job's id."),
        ("submission_id" = String, Path, description = "The id of the submission that created the prediction."),
    ),
    responses((status = 204, description = "The report is accepted."), Problems),
)]
#[handler]
pub(crate) async fn report_prediction(
    Data(context): Data<&Arc<Context>>,
    Path((job_id, submission_id)): Path<(String, String)>,
    request: &Request,
    body: Body,
) -> Result<Response, Problem> {
    let signed = Signed {
        id: request.header("webhook-id").unwrap_or_default(),
        timestamp: request.header("webhook-timestamp").unwrap_or_default(),
        signature: request.header("webhook-signature").unwrap_or_default(),
    };
    let secret = context
        .replicate_secret
        .as_ref()
        .filter(|_| signed.is_plausible(Timestamp::now()));
    let secret = secret.ok_or_else(|| problem(&ReportError::NotGenuine))?;
    let body = json::read(request, body, MAX_BODY, &context.peers.reports).await?;
    let report = report::read(secret, signed, &body.bytes, Timestamp::now());
    let report = report.map_err(|error| problem(&error))?;
    drop(body);
    let has_ended = match report.status {
        Some(status) => status.is_terminal(),
        None => report.completed_at.is_some(),
    };
    if has_ended && let (Ok(job_id), Ok(submission_id)) = (job_id.parse(), submission_id.parse()) {
        signal_job(context, &job_id, submission_id, signed.id, &report).await?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn problem(error: &ReportError) -> Problem {
    let kind = match error {
        ReportError::NotGenuine => Kind::Unauthenticated,
        ReportError::Unreadable(_) => Kind::Malformed,
    };
    Problem::new(kind, error.to_string())
}

/// Signals the job that the report is of, or resumes it if it has ended without this prediction.
async fn signal_job(
    context: &Arc<Context>,
    job_id: &JobId,
    submission_id: SubmissionId,
    webhook_id: &str,
    report: &ProviderReport,
) -> Result<(), Problem> {
    let client = context.temporal.client()?;
    let handle = client.get_workflow_handle::<MediaGeneration>(job_id.to_string());
    if was_quick(report) && is_polled(&handle, report).await? {
        return Ok(());
    }
    let signal = PredictionReport {
        submission_id: submission_id.clone(),
        prediction_id: report.prediction_id.clone(),
    };
    // Temporal drops a signal whose request id it has seen, so a repeated report has no effect.
    let options = WorkflowSignalOptions::builder()
        .request_id(webhook_id.to_owned())
        .rpc_options(temporal::rpc_options())
        .build();
    match handle
        .signal(MediaGeneration::prediction_reported, signal, options)
        .await
    {
        Ok(()) => Ok(()),
        // The job has ended, or there is none.
        Err(WorkflowInteractionError::NotFound(_)) => {
            adopt(context, job_id, &submission_id, report).await
        }
        Err(error) => Err(temporal::interaction_problem(error)),
    }
}

/// Returns true if the attempt that submitted the prediction is still running: it sees the end by
/// itself, and a signal costs an action.
async fn is_polled(
    handle: &WorkflowHandle<Client, MediaGeneration>,
    report: &ProviderReport,
) -> Result<bool, Problem> {
    let description = match handle.describe(temporal::describe_options()).await {
        Ok(description) => description,
        Err(WorkflowInteractionError::NotFound(_)) => return Ok(false),
        Err(error) => return Err(temporal::interaction_problem(error)),
    };
    let Some(generate) = pending_activities(&description, "generate").next() else {
        return Ok(false);
    };
    Ok(match jobs::recorded(handle.client(), &generate).await {
        Some(GenerateRecord::Submitted(state)) => state.prediction.id == report.prediction_id,
        _ => false,
    })
}

fn was_quick(report: &ProviderReport) -> bool {
    match (report.created_at, report.completed_at) {
        (Some(created), Some(completed)) => completed.duration_since(created) < IGNORED_BELOW,
        _ => false,
    }
}

/// Adopts the prediction of a job that ended in doubt: resumes the job. It pays nothing.
async fn adopt(
    context: &Arc<Context>,
    job_id: &JobId,
    submission_id: &SubmissionId,
    report: &ProviderReport,
) -> Result<(), Problem> {
    let view = match context.views.current(context, job_id).await {
        Ok(view) => view,
        Err(problem) if problem.kind() == Kind::NotFound => return Ok(()),
        Err(problem) => return Err(problem),
    };
    let mut job = view.state.clone();
    let is_settled = job
        .unsettled_doubt()
        .is_none_or(|doubt| !doubt.is_of(submission_id));
    let is_known = job
        .provider
        .as_ref()
        .is_some_and(|state| state.prediction.id == report.prediction_id);
    if is_settled || is_known {
        return Ok(());
    }
    let prediction = PredictionRef::new(ProviderName::Replicate, report.prediction_id.clone());
    // Its end is read from the provider, with all else that the report does not say.
    job.record_purchase(ProviderState::new(prediction, PredictionStatus::Processing));
    let retry = Retry {
        id: submission_id.to_string(),
        regenerate: false,
    };
    match jobs::start(context, job, Start::Resume, Run::Another(retry), None).await {
        Ok(()) => {
            tracing::info!(%job_id, prediction_id = %report.prediction_id, "job in doubt resumed: a late report names its prediction");
            context.views.invalidate(job_id).await;
            Ok(())
        }
        // Another request resumed the job, or it is being deleted.
        Err(problem) if matches!(problem.kind(), Kind::NotEnded | Kind::NotFound) => Ok(()),
        Err(problem) => Err(problem),
    }
}
