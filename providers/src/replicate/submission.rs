//! The paid call: `POST /predictions`. It has a connection of its own, so that a missing answer
//! shows how far the request got. Its body waits for the gate: without a body, the request creates
//! nothing. What a lost answer means for the job is decided in the workflow, in
//! `workflows/src/media_generation/generation.rs`.

use std::{pin::pin, sync::Arc, time::Duration};

use darkroom_workflows::{failure::chain, job::Prediction, request::JobRequest};
use jiff::Timestamp;
use reqwest::{
    Body, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::{
    Replicate,
    gated_body::{GatedBody, Progress},
    response::{self, AnsweredBy, Refusal},
    wire::Answer,
};
use crate::provider::{Gate, GateClosed, ProviderError, Submission, SubmitError};

/// Timeout of everything before the paid call: connecting, and recording the submission.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(20);

/// Timeout of the answer once the request is sent. With the other two, it is less than the activity
/// may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);

/// Timeout of reading an answer that is there when [`ANSWER_TIMEOUT`] has passed: a process that
/// was suspended meanwhile has had no chance to read it.
const GRACE_PERIOD: Duration = Duration::from_secs(2);

/// Shortest `Cancel-After` that Replicate accepts, in seconds.
/// <https://replicate.com/docs/topics/predictions/lifecycle>
const LEAST_CANCEL_AFTER: u64 = 5;

pub(super) async fn submit(
    replicate: &Replicate,
    submission: &Submission<'_>,
    gate: Arc<dyn Gate>,
) -> Result<Prediction, SubmitError> {
    let (path, body) = body(replicate, submission);
    let body = serde_json::to_vec(&body)
        .map_err(|error| SubmitError::Refused(ProviderError::Rejected(error.to_string())))?;
    let url = replicate.url(&path).map_err(SubmitError::Refused)?;
    let (gated, progress) = GatedBody::new(body.into(), gate);
    let cancel_after = submission.cancel_after.as_secs().max(LEAST_CANCEL_AFTER);
    let request = replicate
        .submissions
        .post(url)
        .bearer_auth(replicate.token.expose_secret())
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header("cancel-after", format!("{cancel_after}s"))
        .body(Body::wrap(gated));
    let answered = async {
        let response = request.send().await?;
        replicate
            .clock
            .observe(response.headers(), Timestamp::now());
        Ok::<_, reqwest::Error>((response.status(), response::read::<Answer>(response).await))
    };
    let mut watched = progress.clone();
    let late = async {
        let sent = watched.wait_for(|progress| *progress == Progress::Sent);
        let is_sent = tokio::time::timeout(PREPARE_TIMEOUT, sent).await.is_ok();
        if is_sent {
            tokio::time::sleep(ANSWER_TIMEOUT).await;
        }
    };
    let mut answered = pin!(answered);
    let answered = tokio::select! {
        biased;
        answered = &mut answered => Some(answered),
        () = late => tokio::time::timeout(GRACE_PERIOD, answered).await.ok(),
    };
    let progress = *progress.borrow();
    match answered {
        Some(Ok((status, answer))) => read(status, answer),
        Some(Err(error)) => Err(unanswered(progress, chain(&error.without_url()))),
        None => Err(unanswered(progress, "no answer in time".to_owned())),
    }
}

/// Interprets an answer: the prediction, or what is known of the provider's side.
fn read(status: StatusCode, answer: Result<Answer, Refusal>) -> Result<Prediction, SubmitError> {
    let Refusal { by, error, .. } = match answer {
        Ok(answer) => return Ok(answer.into()),
        Err(refusal) => refusal,
    };
    // Statuses of a gateway about its upstream, whatever the body says.
    // developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors
    let is_of_a_gateway = matches!(status.as_u16(), 408 | 502 | 504 | 520..=524);
    // A gateway that blocks the caller, or does not find the provider, does so for a while. These
    // are about the request, which would be refused again.
    let is_of_the_request = matches!(status.as_u16(), 400 | 413 | 414 | 422 | 431);
    match error {
        error if is_of_a_gateway => Err(SubmitError::Unanswered(error)),
        ProviderError::NotFound | ProviderError::Rejected(_)
            if by == AnsweredBy::Gateway && !is_of_the_request =>
        {
            Err(SubmitError::Refused(ProviderError::Unavailable(format!(
                "{status} from a gateway"
            ))))
        }
        ProviderError::NotFound => Err(SubmitError::Refused(ProviderError::Rejected(
            "there is no such model or version; a model that is not official is called by its version, \
             as owner/name:version"
                .to_owned(),
        ))),
        error if status.is_client_error() || status.is_redirection() => {
            Err(SubmitError::Refused(error))
        }
        error if status.is_server_error() && by == AnsweredBy::Provider => {
            Err(SubmitError::ProviderFailed(error))
        }
        error => Err(SubmitError::Unanswered(error)),
    }
}

fn unanswered(progress: Progress, words: String) -> SubmitError {
    match progress {
        Progress::Waiting => SubmitError::Refused(ProviderError::Unavailable(words)),
        Progress::Closed => SubmitError::Refused(GateClosed.into()),
        Progress::Sent => SubmitError::Unanswered(ProviderError::Unavailable(words)),
    }
}

/// Path and body of the call. The body names a model, official or not; the path names a deployment.
fn body(replicate: &Replicate, submission: &Submission<'_>) -> (String, Value) {
    let model = &submission.request.model;
    let (path, mut body) = match model.deployment() {
        Some((owner, name)) => (format!("deployments/{owner}/{name}/predictions"), json!({})),
        None => (
            "predictions".to_owned(),
            json!({"version": model.to_string()}),
        ),
    };
    body["input"] = Value::Object(input(submission.request));
    if let Some(webhook) = replicate.webhook(submission.job_id, submission.submission_id) {
        body["webhook"] = webhook.as_str().into();
        body["webhook_events_filter"] = json!(["completed"]);
    }
    (path, body)
}

/// Inputs of the model: the caller's own, and the named fields. `num_outputs` is omitted if it is
/// 1, as a model with one output may not accept it.
fn input(request: &JobRequest) -> Map<String, Value> {
    let mut input = request.input.to_map();
    if let Some(prompt) = &request.prompt {
        input.insert("prompt".to_owned(), prompt.as_str().into());
    }
    if request.num_outputs.get() > 1 {
        input.insert("num_outputs".to_owned(), request.num_outputs.get().into());
    }
    if let Some(seed) = request.seed {
        input.insert("seed".to_owned(), seed.into());
    }
    if let Some(format) = request.output_format {
        input.insert("output_format".to_owned(), json!(format));
    }
    input
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn submission_of(request: Value) -> (String, Value) {
        let public_url = Some("https://darkroom.example".parse().unwrap());
        let base = "http://localhost/v1".parse().unwrap();
        let replicate = Replicate::new(base, "t".into(), public_url).unwrap();
        body(
            &replicate,
            &Submission {
                job_id: &"01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1".parse().unwrap(),
                submission_id: &"abc".parse().unwrap(),
                request: &serde_json::from_value(request).unwrap(),
                cancel_after: Duration::from_mins(1),
            },
        )
    }

    #[test]
    fn a_model_is_named_in_the_body_and_a_deployment_in_the_path() {
        for (model, path, version) in [
            ("acme/photo:abc", "predictions", Some("acme/photo:abc")),
            ("acme/photo", "predictions", Some("acme/photo")),
            (
                "deployments/acme/app",
                "deployments/acme/app/predictions",
                None,
            ),
        ] {
            let (sent_to, body) = submission_of(json!({"model": model, "prompt": "p"}));
            let version = version.map(|version| json!(version));
            assert_eq!(
                (sent_to.as_str(), body.get("version")),
                (path, version.as_ref())
            );
        }
    }

    #[test]
    fn the_input_has_exactly_the_requested_fields() {
        let (_, body) = submission_of(json!({
            "model": "acme/photo", "prompt": "a fox", "num_outputs": 3, "seed": 7, "output_format": "webp",
            "input": {"steps": 20},
        }));
        assert_eq!(
            body["input"],
            json!({"prompt": "a fox", "steps": 20, "num_outputs": 3, "seed": 7, "output_format": "webp"})
        );
        let upscaled = json!({"model": "acme/upscaler", "input": {"image": "https://x/y"}});
        assert_eq!(
            submission_of(upscaled).1["input"],
            json!({"image": "https://x/y"})
        );
    }

    #[test]
    fn answers_are_classified_by_status_and_sender() {
        let answer = |status: u16, by| {
            let status = StatusCode::from_u16(status).unwrap();
            let error = ProviderError::Unavailable(String::new());
            let refusal = Refusal { status, by, error };
            read(status, Err(refusal)).unwrap_err()
        };
        for status in [500, 501, 503, 529] {
            assert!(matches!(
                answer(status, AnsweredBy::Provider),
                SubmitError::ProviderFailed(_)
            ));
            assert!(matches!(
                answer(status, AnsweredBy::Gateway),
                SubmitError::Unanswered(_)
            ));
        }
        for status in [200, 201, 408, 502, 504, 520, 522, 524] {
            for by in [AnsweredBy::Provider, AnsweredBy::Gateway] {
                assert!(
                    matches!(answer(status, by), SubmitError::Unanswered(_)),
                    "{status}"
                );
            }
        }
        for status in [301, 400, 401, 403, 422, 429] {
            assert!(matches!(
                answer(status, AnsweredBy::Gateway),
                SubmitError::Refused(_)
            ));
        }
    }
}
