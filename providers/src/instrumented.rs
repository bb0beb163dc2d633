//! Metrics of a provider: a wrapper that counts its calls by operation and outcome.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use darkroom_workflows::{
    contract::collect::PollReason,
    job::{Doubt, JobId, Prediction, PredictionRef, ProviderName},
};
use jiff::SignedDuration;
use metrics::{counter, describe_counter};

use crate::provider::{Gate, Provider, ProviderError, Search, Submission, SubmitError};

const CALLS: &str = "darkroom_provider_calls_total";

/// Describes the metric, and initializes the series that alerts use to zero. Must be called after
/// the metrics recorder is installed.
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

/// Wrapper that counts the calls to another provider.
pub struct Instrumented<P>(pub P);

#[async_trait]
impl<P: Provider> Provider for Instrumented<P> {
    fn name(&self) -> ProviderName {
        self.0.name()
    }

    fn clock_skew(&self) -> Option<SignedDuration> {
        self.0.clock_skew()
    }

    fn poll_interval(&self, occasion: PollReason, poll: u32) -> Duration {
        self.0.poll_interval(occasion, poll)
    }

    async fn check(&self) -> Result<(), ProviderError> {
        counted("check", self.0.check().await)
    }

    async fn submit(
        &self,
        submission: &Submission<'_>,
        gate: Arc<dyn Gate>,
    ) -> Result<Prediction, SubmitError> {
        let result = self.0.submit(submission, gate).await;
        record(
            "submit",
            match &result {
                Ok(_) => "ok",
                Err(SubmitError::Refused(error)) => outcome(error),
                Err(SubmitError::ProviderFailed(_) | SubmitError::Unanswered(_)) => "unknown",
            },
        );
        result
    }

    async fn fetch(&self, prediction: &PredictionRef) -> Result<Prediction, ProviderError> {
        counted("fetch", self.0.fetch(prediction).await)
    }

    async fn output(
        &self,
        prediction: &PredictionRef,
        position: usize,
        name: Option<&str>,
    ) -> Result<Option<String>, ProviderError> {
        counted("fetch", self.0.output(prediction, position, name).await)
    }

    async fn find(&self, job_id: &JobId, doubt: &Doubt) -> Result<Search, ProviderError> {
        counted("find", self.0.find(job_id, doubt).await)
    }

    async fn cancel(&self, prediction: &PredictionRef) -> Result<Prediction, ProviderError> {
        counted("cancel", self.0.cancel(prediction).await)
    }
}

fn counted<T>(
    operation: &'static str,
    result: Result<T, ProviderError>,
) -> Result<T, ProviderError> {
    record(operation, result.as_ref().err().map_or("ok", outcome));
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
        ProviderError::Unreadable(_) | ProviderError::TooLarge(_) => "unreadable",
        ProviderError::GateClosed(_) => "not_sent",
    }
}

fn record(operation: &'static str, outcome: &'static str) {
    counter!(CALLS, "operation" => operation, "outcome" => outcome).increment(1);
}
