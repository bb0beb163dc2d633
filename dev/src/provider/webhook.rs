//! Reports to the webhook of a prediction, signed as Replicate signs them. Only the terminal event
//! is sent, with retries for about a minute. <https://replicate.com/docs/topics/webhooks>

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use uuid::Uuid;

use super::{
    State,
    prediction::{HALF, Prediction},
};

/// Secret that reports are signed with. It protects nothing but loopback.
pub const SECRET: &str = "whsec_ZGFya3Jvb20tb24tbG9vcGJhY2s=";

const FIRST_RETRY: Duration = Duration::from_secs(1);
const TRIES: u32 = 6;

/// Schedules the report of a prediction's end, if its events include `completed`.
pub(super) fn report_end(state: &Arc<State>, prediction: &Prediction) {
    let asks = prediction
        .webhook_events_filter
        .iter()
        .any(|event| event == "completed")
        || prediction.webhook_events_filter.is_empty();
    let Some(url) = prediction.webhook.clone().filter(|_| asks) else {
        return;
    };
    let (state, id) = (Arc::clone(state), prediction.id.clone());
    let left = prediction.time_left(Timestamp::now());
    tokio::spawn(async move {
        tokio::time::sleep(left).await;
        // The cancel call has reported a canceled prediction already.
        if let Some(prediction) = state
            .store
            .get(&id)
            .filter(|prediction| prediction.has_ended_by_itself(Timestamp::now()))
        {
            deliver(&state, &prediction, &url).await;
        }
    });
}

/// Reports that a prediction was canceled.
pub(super) fn report_cancellation(state: &Arc<State>, prediction: &Prediction) {
    let Some(url) = prediction.webhook.clone() else {
        return;
    };
    let (state, prediction) = (Arc::clone(state), prediction.clone());
    tokio::spawn(async move { deliver(&state, &prediction, &url).await });
}

async fn deliver(state: &State, prediction: &Prediction, url: &str) {
    let body = prediction
        .to_json(&state.origin, Timestamp::now())
        .to_string()
        .replace(HALF, "\\ud83d");
    let webhook_id = format!("msg_{}", Uuid::now_v7().simple());
    for _ in 0..prediction.script().webhooks {
        let mut pause = FIRST_RETRY;
        for _ in 0..TRIES {
            if post(state, url, &webhook_id, body.clone()).await {
                *state.reports().entry(prediction.id.clone()).or_default() += 1;
                break;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
}

async fn post(state: &State, url: &str, webhook_id: &str, body: String) -> bool {
    let timestamp = Timestamp::now().as_second().to_string();
    let request = state
        .http
        .post(url)
        .header("content-type", "application/json")
        .header("webhook-id", webhook_id)
        .header("webhook-signature", sign(webhook_id, &timestamp, &body))
        .header("webhook-timestamp", timestamp)
        .body(body);
    request
        .send()
        .await
        .is_ok_and(|response| response.status().is_success())
}

/// Returns the value of the signature header.
/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
#[must_use]
pub fn sign(webhook_id: &str, timestamp: &str, body: &str) -> String {
    let key = SECRET
        .strip_prefix("whsec_")
        .and_then(|key| BASE64_STANDARD.decode(key).ok())
        .unwrap_or_default();
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else {
        return String::new();
    };
    mac.update(format!("{webhook_id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}
