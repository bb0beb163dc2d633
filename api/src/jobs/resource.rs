//! Conversion of a job into its resource. Field names follow the service that this one replaces.

use darkroom_types::{
    provider::{CancelOutcome, ProviderName},
    request::JobRequest,
    resource::{Job, Links, Provider},
    status::JobStatus,
};
use darkroom_workflows::job::{Doubt, JobState, ProviderState};

use super::{list_media::Page, load::Snapshot};
use crate::context::Context;

/// Converts a job as it was read.
pub(super) async fn present(context: &Context, snapshot: Snapshot) -> Job {
    let Snapshot {
        state,
        stale,
        progress,
        recorded: _,
    } = snapshot;
    let this = context.job_url(&state.job_id);
    let (media_counts, page) = (state.media_counts(), Page::FIRST);
    let media = page.read(context, &state, &progress).await;
    let media_next_cursor = page.next_cursor(&state);
    let expires_at = state.expires_at();
    let JobState {
        job_id,
        request,
        status,
        stage,
        provider,
        doubt,
        error,
        retry_count,
        key_id,
        ..
    } = state;
    let JobRequest {
        model,
        prompt,
        num_outputs,
        seed,
        output_format,
        deadline_seconds,
        expire_after_seconds: _,
        priority,
        input,
        metadata,
        webhook_url,
        webhook_events,
    } = request;
    let namespace = context
        .temporal
        .client()
        .map(|client| client.options().namespace.clone());
    let temporal = context
        .temporal_ui
        .as_ref()
        .zip(namespace.ok())
        .map(|(ui, namespace)| {
            format!(
                "{}/namespaces/{namespace}/workflows/{job_id}",
                ui.as_str().trim_end_matches('/')
            )
        });
    Job {
        job_id,
        status,
        stage,
        stale,
        model,
        prompt,
        num_outputs,
        seed,
        output_format,
        deadline_seconds,
        expire_after_seconds: state.expire_after_seconds,
        priority,
        input,
        metadata,
        webhook_url,
        webhook_events,
        media,
        media_next_cursor,
        media_counts,
        provider: match (provider, &doubt) {
            (Some(provider), None) => Some(of_provider(provider)),
            (_, Some(_)) => Some(in_doubt(status)),
            (None, None) => None,
        },
        in_doubt_since: doubt.map(|Doubt { since, .. }| since),
        error_message: error.as_ref().map(|error| error.detail.clone()),
        error,
        key_id,
        retry_count,
        created_at: state.created_at,
        updated_at: state.updated_at,
        started_at: state.started_at,
        completed_at: state.completed_at,
        expires_at,
        links: Links {
            media: format!("{this}/media"),
            events: format!("{this}/events"),
            cancel: format!("{this}/cancel"),
            retry: format!("{this}/retry"),
            webhooks: format!("{this}/webhooks"),
            this,
            temporal,
        },
    }
}

/// Provider section of a submission in doubt, of which only the provider's name is known.
fn in_doubt(status: JobStatus) -> Provider {
    Provider {
        cancel_outcome: status.is_terminal().then_some(CancelOutcome::Unknown),
        ..Provider::new(ProviderName::Replicate)
    }
}

fn of_provider(state: ProviderState) -> Provider {
    Provider {
        name: state.prediction.provider,
        prediction_id: Some(state.prediction.id),
        status: Some(state.status),
        cancel_outcome: state.cancel_outcome,
        created_at: state.created_at,
        started_at: state.started_at,
        completed_at: state.completed_at,
        expires_at: state.expires_at,
        error: state.error,
        outputs_made: state.outputs_made,
        output: state.output,
        metrics: state.metrics,
    }
}
