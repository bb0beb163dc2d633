//! `find`: searches once for the prediction of a submission whose answer is lost. What follows from
//! what it finds is decided in the workflow, in `workflows/src/media_generation/generation.rs`.

use darkroom_providers::{Provider, provider::Search};
use darkroom_workflows::contract::find::{FindInput, FindOutcome};

use super::{cancel, retryable_after_purchase};
use crate::{failure::Failure, metrics};

/// Searches once. Of several predictions the oldest is adopted; the others are duplicates and are
/// canceled.
///
/// # Errors
/// If the provider refuses or cannot be reached.
pub async fn find(provider: &dyn Provider, input: &FindInput) -> Result<FindOutcome, Failure> {
    let job_id = &input.job_id;
    let found = provider
        .find(job_id, &input.doubt)
        .await
        .map_err(retryable_after_purchase)?;
    let mut predictions = match found {
        Search::Found(predictions) => predictions.into_iter(),
        Search::NotShown => return Ok(FindOutcome::NotShown),
        Search::CannotTell => return Ok(FindOutcome::CannotTell),
    };
    let Some(oldest) = predictions.next() else {
        return Ok(FindOutcome::NotShown);
    };
    let duplicates: Vec<_> = predictions.collect();
    for duplicate in &duplicates {
        cancel::cancel(provider, &duplicate.state.prediction).await?;
    }
    // Counted once: a search whose cancel fails is repeated.
    for duplicate in &duplicates {
        let prediction_id = &duplicate.state.prediction.id;
        tracing::error!(%job_id, %prediction_id, "canceled a duplicate prediction");
        metrics::orphaned();
    }
    tracing::info!(%job_id, prediction_id = %oldest.state.prediction.id, "adopted a prediction");
    Ok(FindOutcome::Found(oldest.state))
}
