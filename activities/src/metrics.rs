//! Metrics of jobs, outputs, predictions and webhooks, with names that dashboards and alerts depend
//! on. Temporal's SDK exports the metrics of activities itself (attempts, latencies, slots).

use darkroom_telemetry::metrics::{LabelLimiter, MARGIN};
use darkroom_workflows::{
    contract::webhook::DeliveryOutcome,
    failure::FailureType,
    job::{CancelOutcome, JobState, JobStatus, MediaOutcome, PredictionId, StoredMedia},
};
use jiff::Timestamp;
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

const ENDED: &str = "darkroom_jobs_ended_total";
const FAILURES: &str = "darkroom_job_failures_total";
const STAGE: &str = "darkroom_job_stage_seconds";
const OUTPUTS: &str = "darkroom_outputs_total";
const CANCELED: &str = "darkroom_predictions_canceled_total";
const IN_DOUBT: &str = "darkroom_jobs_in_doubt_total";
const ORPHANED: &str = "darkroom_predictions_orphaned_total";
const COST: &str = "darkroom_provider_predict_seconds_total";
const REMOVED: &str = "darkroom_objects_removed_total";
const BYTES: &str = "darkroom_output_bytes_total";
const ATTEMPTS: &str = "darkroom_attempts_failed_total";
const SECRET_MATCHES: &str = "darkroom_webhook_secret_matches";
const WEBHOOKS: &str = "darkroom_webhook_attempts_total";

/// Limits the values of the `model` label: callers choose the models.
static MODELS: LabelLimiter = LabelLimiter::new();

/// Registers the help texts. Must be called after the metrics recorder is installed.
pub fn describe() {
    describe_counter!(
        ENDED,
        "Jobs that ended, by status. A manifest that is written again counts again."
    );
    describe_counter!(
        FAILURES,
        "Jobs that did not complete, by the type of the failure."
    );
    describe_histogram!(
        STAGE,
        Unit::Seconds,
        "Time that jobs spent queued, generating, persisting and in all, by stage."
    );
    describe_counter!(OUTPUTS, "Outputs of jobs that ended, by outcome.");
    describe_histogram!(
        MARGIN,
        Unit::Seconds,
        "Time between storing a job's last output and the provider's removal of its outputs."
    );
    describe_counter!(
        CANCELED,
        "Predictions that a job asked to cancel, by outcome."
    );
    describe_counter!(
        IN_DOUBT,
        "Jobs that ended in doubt: the provider may have a prediction of theirs."
    );
    describe_counter!(
        ORPHANED,
        "Predictions bought beside a job's own, or for a job that had ended. They are canceled."
    );
    describe_counter!(
        COST,
        Unit::Seconds,
        "Prediction time that providers measured and charge for, of jobs that ended, by model."
    );
    describe_counter!(BYTES, Unit::Bytes, "Bytes of stored outputs.");
    describe_counter!(
        ATTEMPTS,
        "Failed attempts at activities, by activity and failure type."
    );
    describe_counter!(
        REMOVED,
        "Objects that were removed because no manifest names them."
    );
    describe_counter!(WEBHOOKS, "Attempts at delivering webhooks, by outcome.");
    describe_gauge!(
        SECRET_MATCHES,
        "1 if this worker has the secret that webhooks must be signed with, else 0."
    );
    secret_matches(true);
    begin();
}

/// Starts the series that alerts use at zero: to Prometheus, a counter that appears with its first
/// count has not increased.
fn begin() {
    for status in [
        JobStatus::Completed,
        JobStatus::Partial,
        JobStatus::Failed,
        JobStatus::Canceled,
    ] {
        counter!(ENDED, "status" => status.to_string()).increment(0);
    }
    counter!(FAILURES, "type" => FailureType::SubmissionUnknown.to_string()).increment(0);
    for outcome in [
        CancelOutcome::Canceled,
        CancelOutcome::TooLate,
        CancelOutcome::Unknown,
    ] {
        counter!(CANCELED, "outcome" => name(outcome)).increment(0);
    }
    counter!(IN_DOUBT).increment(0);
    counter!(ORPHANED).increment(0);
    for kind in [
        FailureType::SourceExpired,
        FailureType::StorageRejected,
        FailureType::StorageUnavailable,
    ] {
        counter!(ATTEMPTS, "activity" => "persist", "type" => kind.to_string()).increment(0);
    }
}

/// Counts a job that ended, given the prediction whose cost was counted when it ended before.
pub(crate) fn ended(job: &JobState, counted: Option<&PredictionId>) {
    counter!(ENDED, "status" => job.status.to_string()).increment(1);
    if let Some(error) = &job.error {
        counter!(FAILURES, "type" => error.kind.to_string()).increment(1);
    }
    if let Some(outcome) = job
        .provider
        .as_ref()
        .and_then(|provider| provider.cancel_outcome)
    {
        counter!(CANCELED, "outcome" => name(outcome)).increment(1);
    }
    if job.doubt.is_some() {
        counter!(IN_DOUBT).increment(1);
    }
    for media in &job.media {
        let outcome = match &media.outcome {
            MediaOutcome::Completed(stored) if !is_of_this_run(job, stored) => continue,
            MediaOutcome::Completed(_) => "stored",
            MediaOutcome::Pending => "pending",
            _ => "failed",
        };
        counter!(OUTPUTS, "outcome" => outcome).increment(1);
    }
    stages(job);
    cost(job, counted);
}

fn name(outcome: CancelOutcome) -> &'static str {
    match outcome {
        CancelOutcome::Canceled => "canceled",
        CancelOutcome::TooLate => "too_late",
        CancelOutcome::Unknown => "unknown",
    }
}

/// Returns true if this run stored the output; what an earlier run stored was counted then.
fn is_of_this_run(job: &JobState, stored: &StoredMedia) -> bool {
    job.retry_count == 0
        || job
            .started_at
            .is_none_or(|started| stored.started_at >= started)
}

fn stored_media(job: &JobState) -> impl Iterator<Item = &StoredMedia> {
    job.media.iter().filter_map(|media| match &media.outcome {
        MediaOutcome::Completed(stored) => Some(stored),
        _ => None,
    })
}

/// Counts the cost of a prediction once, however many runs its outputs take.
fn cost(job: &JobState, counted: Option<&PredictionId>) {
    let measured = measured(job).filter(|(prediction, _)| Some(*prediction) != counted);
    if let Some((_, seconds)) = measured {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole, positive and saturates"
        )]
        counter!(COST, "model" => MODELS.label(&job.request.model.to_string()))
            .increment(seconds.ceil() as u64);
    }
}

/// Returns the prediction of a job, and the seconds that the provider has measured; `None` unless
/// it has.
pub(crate) fn measured(job: &JobState) -> Option<(&PredictionId, f64)> {
    let provider = job.provider.as_ref()?;
    let seconds = provider.metrics.get("predict_time")?.as_f64()?;
    (seconds >= 0.0).then_some((&provider.prediction.id, seconds))
}

fn stages(job: &JobState) {
    let stored = || stored_media(job).filter(|stored| is_of_this_run(job, stored));
    let first = stored().map(|stored| stored.started_at).min();
    let last = stored().map(|stored| stored.completed_at).max();
    let queued_at = (job.retry_count == 0).then_some(job.created_at);
    let stages = [
        ("queued", queued_at, job.started_at),
        ("generating", job.started_at, first),
        ("persisting", first, last),
        ("all", queued_at.or(job.started_at), job.completed_at),
    ];
    for (stage, from, to) in stages {
        if let (Some(from), Some(to)) = (from, to) {
            histogram!(STAGE, "stage" => stage).record(seconds(from, to));
        }
    }
    let expires_at = job
        .provider
        .as_ref()
        .and_then(|provider| provider.expires_at);
    if let (Some(last), Some(expires_at)) = (last, expires_at) {
        histogram!(MARGIN).record(seconds(last, expires_at));
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

/// Counts a prediction that was bought and that no job waits for.
pub(crate) fn orphaned() {
    counter!(ORPHANED).increment(1);
}

/// Counts an object that was removed because no manifest names it.
pub(crate) fn removed() {
    counter!(REMOVED).increment(1);
}

/// Counts the bytes of an output that was stored.
pub(crate) fn stored(bytes: u64) {
    counter!(BYTES).increment(bytes);
}

/// Counts an attempt that failed.
pub(crate) fn attempt_failed(activity: &str, kind: FailureType) {
    counter!(ATTEMPTS, "activity" => activity.to_owned(), "type" => kind.to_string()).increment(1);
}

/// Records whether the webhook secret is the one that callers verify with.
pub(crate) fn secret_matches(matches: bool) {
    gauge!(SECRET_MATCHES).set(f64::from(u8::from(matches)));
}

/// Counts an attempt at delivering a webhook.
pub(crate) fn delivered(outcome: DeliveryOutcome) {
    let outcome = match outcome {
        DeliveryOutcome::Delivered => "delivered",
        DeliveryOutcome::Failed => "failed",
        DeliveryOutcome::Refused => "refused",
    };
    counter!(WEBHOOKS, "outcome" => outcome).increment(1);
}
