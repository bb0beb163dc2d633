//! `deliver_webhook`: one attempt at sending a webhook, signed as [Standard
//! Webhooks](https://www.standardwebhooks.com) specifies. The workflow decides when to retry.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use darkroom_types::retry_after::parse_retry_after;
use darkroom_workflows::{
    contract::webhook::{DeliverWebhookInput, Delivery, DeliveryOutcome},
    failure::chain,
    job::timestamp,
    webhook_delivery::DeliveryAttempt,
    webhook_secret::WebhookSecret,
};
use reqwest::{
    Client, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};

use crate::{
    guard::{self, Clients, Guard, SetupError},
    metrics,
};

/// Timeout of one request. Receivers should accept the message and process it later.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Sends webhooks to receivers.
#[derive(Clone)]
pub struct WebhookSender {
    clients: Clients,
    secret: Option<WebhookSecret>,
    mismatch: SecretMismatch,
}

/// Mismatch of the webhook secret, shared by all clones: messages must be signed with a secret that
/// this process does not have, because worker and api are configured differently.
#[derive(Clone, Debug, Default)]
pub struct SecretMismatch(Arc<Mutex<Option<Instant>>>);

impl SecretMismatch {
    /// Time for which a mismatch counts. A single message may date from before the secret was
    /// changed.
    const VALIDITY: Duration = Duration::from_mins(10);

    /// Returns true if the latest message, at most ten minutes ago, was a mismatch. The metric
    /// forgets an older one as well.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        let seen = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_seen = seen.is_some_and(|seen| seen.elapsed() < Self::VALIDITY);
        metrics::secret_matches(!is_seen);
        is_seen
    }

    fn note(&self, matches: bool) {
        let seen = (!matches).then(Instant::now);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        metrics::secret_matches(matches);
    }
}

impl WebhookSender {
    /// Creates the HTTP clients. Without a secret nothing is sent: receivers cannot verify an
    /// unsigned message.
    ///
    /// # Errors
    /// If the HTTP clients cannot be created.
    pub fn new(
        guard: Guard,
        secret: Option<WebhookSecret>,
        mismatch: SecretMismatch,
    ) -> Result<Self, SetupError> {
        let builder = || {
            Client::builder()
                .connect_timeout(Duration::from_secs(5))
                .timeout(TIMEOUT)
                // Callers may name any number of receivers, and each idle connection takes a file
                // descriptor.
                .pool_max_idle_per_host(0)
        };
        Ok(Self {
            clients: Clients::new(guard, builder)?,
            secret,
            mismatch,
        })
    }

    /// Sends a message once. A failure is part of the result.
    pub async fn deliver(&self, input: DeliverWebhookInput) -> Delivery {
        let (at, began) = (timestamp(SystemTime::now()), Instant::now());
        let AttemptResult {
            outcome,
            response_status,
            error,
            retry_after_seconds,
        } = self.send(&input).await;
        metrics::delivered(outcome);
        let duration_ms = u64::try_from(began.elapsed().as_millis()).ok();
        Delivery {
            outcome,
            retry_after_seconds,
            attempt: DeliveryAttempt {
                at,
                duration_ms,
                response_status,
                error,
            },
        }
    }

    /// Returns the secret that signs messages. `wanted` is the id of the secret that callers verify
    /// with. A secret that does not match it is used all the same, as the operator may have rotated
    /// it since.
    fn secret(&self, wanted: Option<&str>) -> Option<&WebhookSecret> {
        let secret = self.secret.as_ref();
        let matches = secret.is_some_and(|secret| wanted.is_none_or(|id| secret.is_known_by(id)));
        if !matches {
            tracing::error!("DARKROOM_WEBHOOK_SECRET must be set, to the same value as the api's");
        }
        self.mismatch.note(matches);
        secret
    }

    async fn send(&self, input: &DeliverWebhookInput) -> AttemptResult {
        let Some(secret) = self.secret(input.secret_id.as_deref()) else {
            return AttemptResult::failed(
                "the worker cannot sign the message: DARKROOM_WEBHOOK_SECRET is not set",
            );
        };
        let url = input.url.as_url();
        let client = match self.clients.client(url) {
            Ok(client) => client,
            Err(forbidden) => return AttemptResult::refused(forbidden.to_string()),
        };
        let sent_at = timestamp(SystemTime::now()).as_second().to_string();
        let secret = secret.of(input.tenant.as_ref());
        let request = client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &input.message_id)
            .header(
                "webhook-signature",
                secret.sign(&input.message_id, &sent_at, input.body.as_bytes()),
            )
            .header("webhook-timestamp", sent_at)
            .body(input.body.clone());
        match request.send().await {
            Ok(response) => AttemptResult::of(&response),
            Err(error) => match guard::find_forbidden(&error) {
                Some(forbidden) => AttemptResult::refused(forbidden.to_string()),
                None => AttemptResult::failed(chain(&error.without_url())),
            },
        }
    }
}

/// Result of one attempt.
struct AttemptResult {
    outcome: DeliveryOutcome,
    response_status: Option<u16>,
    error: Option<String>,
    retry_after_seconds: Option<u64>,
}

impl AttemptResult {
    fn failed(error: impl Into<String>) -> Self {
        let error = Some(error.into());
        Self {
            outcome: DeliveryOutcome::Failed,
            response_status: None,
            error,
            retry_after_seconds: None,
        }
    }

    fn refused(error: String) -> Self {
        Self {
            outcome: DeliveryOutcome::Refused,
            ..Self::failed(error)
        }
    }

    fn of(response: &Response) -> Self {
        let status = response.status();
        let (outcome, error) = match status {
            _ if status.is_success() => (DeliveryOutcome::Delivered, None),
            StatusCode::GONE => (
                DeliveryOutcome::Refused,
                Some("the receiver wants no more: it answered 410".to_owned()),
            ),
            _ if status.is_redirection() => (
                DeliveryOutcome::Failed,
                Some(format!(
                    "the receiver answered {status}, and redirects are not followed"
                )),
            ),
            _ => (
                DeliveryOutcome::Failed,
                Some(format!("the receiver answered {status}")),
            ),
        };
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| parse_retry_after(value.to_str().ok()?, SystemTime::now()))
            .map(|delay| delay.as_secs());
        Self {
            outcome,
            response_status: Some(status.as_u16()),
            error,
            retry_after_seconds: retry_after,
        }
    }
}
