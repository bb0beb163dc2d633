//! Webhook deliveries: list and repeat them, and read the secret that signs them.

use darkroom_types::{
    job_id::JobId,
    resource::{WebhookDeliveries, WebhookDelivery, WebhookSecret},
};
use reqwest::Method;

use crate::{Client, Error, call::Idempotency};

impl Client {
    /// Returns the webhook deliveries of a job, with their attempts.
    ///
    /// # Errors
    /// If there is no such job, or if the api cannot be reached.
    pub async fn list_webhooks(&self, job_id: &JobId) -> Result<WebhookDeliveries, Error> {
        let get = self.of_job(Method::GET, job_id, &["webhooks"]);
        self.call(get, Idempotency::Idempotent).await
    }

    /// Sends the webhook of a job's end once more. The message has the same id, so that its
    /// receiver recognizes it.
    ///
    /// # Errors
    /// If the job has not ended, if its webhook is not notified of this end, or if the api cannot
    /// be reached.
    pub async fn redeliver_webhook(&self, job_id: &JobId) -> Result<WebhookDelivery, Error> {
        let post = self.of_job(Method::POST, job_id, &["webhooks"]);
        self.call(post, Idempotency::Idempotent).await
    }

    /// Returns the secret that signs the webhooks of the caller's tenant.
    ///
    /// # Errors
    /// If no webhooks are configured, if the caller may not read the secret, or if the api cannot
    /// be reached.
    pub async fn webhook_secret(&self) -> Result<WebhookSecret, Error> {
        let get = self.request(Method::GET, self.url_of(&["v1", "webhooks", "secret"]));
        self.call(get, Idempotency::Idempotent).await
    }
}
