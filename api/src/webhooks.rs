//! `POST /v1/webhooks/replicate/{job_id}`: the provider's own word that a prediction has ended. It only says when to look:
//! the outputs are read from the provider itself. Signed as [Standard Webhooks](https://www.standardwebhooks.com) has it.

use std::{str::FromStr, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use darkroom_workflows::{
    MediaGeneration,
    job::{JobId, PredictionStatus},
    media_generation::PredictionReport,
};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use poem::{
    Body, Request, Route, handler,
    http::StatusCode,
    post,
    web::{Data, Path},
};
use serde::Deserialize;
use sha2::Sha256;
use temporalio_client::{WorkflowSignalOptions, errors::WorkflowInteractionError};

use crate::{
    Context,
    problem::{Kind, Problem},
    temporal,
};

/// The largest report that is read: it carries the whole prediction.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// How far a report's time may be from ours.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

pub(crate) fn routes() -> Route {
    Route::new().at("/replicate/:job_id", post(replicate))
}

/// What signs reports: `whsec_` and a key in base64. It is never shown.
#[derive(Clone)]
pub struct WebhookSecret(Vec<u8>);

impl FromStr for WebhookSecret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = text.strip_prefix("whsec_").and_then(|key| BASE64_STANDARD.decode(key).ok());
        key.filter(|key| !key.is_empty()).map(Self).ok_or("must be whsec_ and a key in base64")
    }
}

#[handler]
async fn replicate(
    Data(context): Data<&Arc<Context>>,
    Path(job_id): Path<String>,
    request: &Request,
    body: Body,
) -> Result<StatusCode, Problem> {
    let body = body
        .into_bytes_limit(MAX_BODY)
        .await
        .map_err(|_| Problem::new(Kind::TooLarge, format!("a report has at most {MAX_BODY} bytes")))?;
    let headers = Headers {
        id: request.header("webhook-id").unwrap_or_default(),
        timestamp: request.header("webhook-timestamp").unwrap_or_default(),
        signature: request.header("webhook-signature").unwrap_or_default(),
    };
    let is_genuine =
        context.webhook_secret.as_ref().is_some_and(|secret| headers.sign(secret, &body, Timestamp::now()));
    if !is_genuine {
        return Err(Problem::new(Kind::Unauthenticated, "the report is not signed by the provider, or not just now"));
    }
    let report: Report = serde_json::from_slice(&body)
        .map_err(|error| Problem::new(Kind::Malformed, format!("the report makes no sense: {error}")))?;
    if report.status.is_terminal()
        && let Ok(job_id) = job_id.parse()
    {
        signal(context, &job_id, headers.id, report).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Tells the workflow. Temporal drops a signal whose request id it has seen, so a repeated report has no effect.
async fn signal(context: &Context, job_id: &JobId, webhook_id: &str, report: Report) -> Result<(), Problem> {
    let handle = context.temporal.client()?.get_workflow_handle::<MediaGeneration>(job_id.as_str());
    let report = PredictionReport { prediction_id: report.id, status: report.status };
    let options =
        WorkflowSignalOptions::builder().request_id(webhook_id.to_owned()).rpc_options(temporal::rpc_options()).build();
    match handle.signal(MediaGeneration::prediction_reported, report, options).await {
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
struct Report {
    id: String,
    status: PredictionStatus,
}

/// What vouches for a report.
struct Headers<'a> {
    id: &'a str,
    timestamp: &'a str,
    signature: &'a str,
}

impl Headers<'_> {
    /// Whether they vouch for this body at this time. Signatures are compared in constant time.
    fn sign(&self, secret: &WebhookSecret, body: &[u8], now: Timestamp) -> bool {
        let sent = self.timestamp.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        let is_recent = sent.is_some_and(|sent| now.duration_since(sent).abs() <= TOLERANCE);
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&secret.0) else { return false };
        mac.update(format!("{}.{}.", self.id, self.timestamp).as_bytes());
        mac.update(body);
        let matches = |signature: &str| {
            let decoded = signature.strip_prefix("v1,").and_then(|signature| BASE64_STANDARD.decode(signature).ok());
            decoded.is_some_and(|signature| mac.clone().verify_slice(&signature).is_ok())
        };
        !self.id.is_empty() && is_recent && self.signature.split(' ').any(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = b"{\"test\": 2432232314}";
    const GENUINE: Headers<'static> = Headers {
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp: "1614265330",
        signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn only_what_the_provider_signed_just_now_is_genuine() {
        let secret: WebhookSecret = SECRET.parse().unwrap();
        let now = at(1_614_265_330);
        assert!(GENUINE.sign(&secret, BODY, now));
        let rotated = format!("v1,AAAA v2,{0} {0}", GENUINE.signature);
        assert!(
            Headers { signature: &rotated, ..GENUINE }.sign(&secret, BODY, now),
            "any of several signatures will do"
        );
        assert!(GENUINE.sign(&secret, BODY, at(1_614_265_330 + 299)));

        assert!(!GENUINE.sign(&secret, BODY, at(1_614_265_330 + 301)), "too old");
        assert!(!GENUINE.sign(&secret, BODY, at(1_614_265_330 - 301)), "from the future");
        assert!(!GENUINE.sign(&secret, b"{\"test\": 2432232315}", now), "another body");
        assert!(!Headers { id: "msg_other", ..GENUINE }.sign(&secret, BODY, now), "another id");
        assert!(!Headers { timestamp: "1614265331", ..GENUINE }.sign(&secret, BODY, now), "another time");
        assert!(!Headers { signature: "", ..GENUINE }.sign(&secret, BODY, now), "no signature");
        assert!(!Headers { signature: "v1,", ..GENUINE }.sign(&secret, BODY, now), "an empty signature");
        assert!(!Headers { signature: "v1,AAAA", ..GENUINE }.sign(&secret, BODY, now), "a short signature");
    }

    #[test]
    fn secrets_parse() {
        assert!("whsec_".parse::<WebhookSecret>().is_err());
        assert!("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse::<WebhookSecret>().is_err());
        assert!("whsec_***".parse::<WebhookSecret>().is_err());
    }
}
