//! Changes of a job's state, which the Temporal UI shows as the workflow's current details.

use std::time::Duration;

use jiff::Timestamp;
use temporalio_workflow::WorkflowContext;

use super::MediaGeneration;
use crate::job::{JobState, JobStatus, MediaStatus, Stage, timestamp};

/// Begins a run: records its start and its run id.
pub(super) fn begin(ctx: &WorkflowContext<MediaGeneration>) {
    update(ctx, |state| {
        state.started_at = Some(state.updated_at);
        state.run_id = Some(ctx.run_id().to_owned());
    });
}

/// Enters a stage, which also sets the status.
pub(super) fn enter(ctx: &WorkflowContext<MediaGeneration>, stage: Stage) {
    update(ctx, |state| {
        state.stage = Some(stage);
        state.status = match stage {
            Stage::Queued => JobStatus::Pending,
            _ => JobStatus::Processing,
        };
    });
}

/// Changes the state, and records the time of the change.
pub(super) fn update<R>(
    ctx: &WorkflowContext<MediaGeneration>,
    change: impl FnOnce(&mut JobState) -> R,
) -> R {
    let now = ctx.workflow_time().map(timestamp);
    let (result, details) = ctx.state_mut(|workflow| {
        let state = &mut workflow.state;
        state.updated_at = now.unwrap_or(state.updated_at);
        let result = change(state);
        (result, describe(state))
    });
    ctx.set_current_details(details);
    result
}

/// Returns the current workflow time.
pub(super) fn now(ctx: &WorkflowContext<MediaGeneration>) -> Timestamp {
    let now = ctx.workflow_time().map(timestamp);
    now.unwrap_or_else(|| ctx.state(|workflow| workflow.state.updated_at))
}

/// Returns the time from now until `then`; zero if it has passed.
pub(super) fn time_until(ctx: &WorkflowContext<MediaGeneration>, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now(ctx))).unwrap_or_default()
}

fn describe(state: &JobState) -> String {
    let stage = match state.stage {
        Some(Stage::Queued) => "waiting for its turn at the provider".to_owned(),
        Some(Stage::Generating) => format!("**generating** with `{}`", state.request.model),
        Some(Stage::Reconciling) => {
            "**in doubt**: the answer to its submission is lost, and it is looked for".to_owned()
        }
        Some(Stage::Persisting) => "**persisting**".to_owned(),
        Some(Stage::Finalizing) => "**writing the manifest**".to_owned(),
        None => format!("**{}**", state.status),
    };
    if state.media.is_empty() {
        return stage;
    }
    let stored = format!(
        "{stage}: {} of {} outputs stored",
        state.count(MediaStatus::Completed),
        state.media.len()
    );
    match state.count(MediaStatus::Failed) {
        0 => stored,
        failed => format!("{stored}, {failed} failed"),
    }
}
