//! A provider whose calls are counted by what came of them.

use async_trait::async_trait;
use darkroom_workflows::{job::JobId, request::JobRequest};
use jiff::Timestamp;
use metrics::{counter, describe_counter};

use crate::provider::{Prediction, Provider, ProviderError, Search, SubmitError};

const CALLS: &str = "darkroom_provider_calls_total";

/// Says what is counted, and has what alerts look at stand at zero. To be called once metrics are installed.
pub fn describe() {
    describe_counter!(CALLS, "Calls to the provider, by operation and outcome.");
    for outcome in [
        "ok",
        "unauthorized",
        "insufficient_credit",
        "unavailable",
        "unknown",
    ] {
        counter!(CALLS, "operation" => "submit", "outcome" => outcome).increment(0);
    }
}

/// Counts the calls to another provider.
pub struct Counted<P>(pub P);

#[async_trait]
impl<P: Provider> Provider for Counted<P> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn submit(
        &self,
        job_id: &JobId,
        request: &JobRequest,
    ) -> Result<Prediction, SubmitError> {
        let result = self.0.submit(job_id, request).await;
        called(
            "submit",
            match &result {
                Ok(_) => "ok",
                Err(SubmitError::Refused(error)) => outcome(error),
                Err(SubmitError::Doubtful(_) | SubmitError::Unanswered(_)) => "unknown",
            },
        );
        result
    }

    async fn fetch(&self, prediction_id: &str) -> Result<Prediction, ProviderError> {
        counted("fetch", self.0.fetch(prediction_id).await)
    }

    async fn find(&self, job_id: &JobId, since: Timestamp) -> Result<Search, ProviderError> {
        counted("find", self.0.find(job_id, since).await)
    }

    async fn cancel(&self, prediction_id: &str) -> Result<Prediction, ProviderError> {
        counted("cancel", self.0.cancel(prediction_id).await)
    }
}

fn counted<T>(
    operation: &'static str,
    result: Result<T, ProviderError>,
) -> Result<T, ProviderError> {
    called(operation, result.as_ref().err().map_or("ok", outcome));
    result
}

fn outcome(error: &ProviderError) -> &'static str {
    match error {
        ProviderError::Rejected(_) => "rejected",
        ProviderError::Unauthorized(_) => "unauthorized",
        ProviderError::InsufficientCredit(_) => "insufficient_credit",
        ProviderError::RateLimited { .. } => "rate_limited",
        ProviderError::NotFound => "not_found",
        ProviderError::Unavailable(_) => "unavailable",
    }
}

fn called(operation: &'static str, outcome: &'static str) {
    counter!(CALLS, "operation" => operation, "outcome" => outcome).increment(1);
}
