//! What was told of a job's end, and to tell it again.

use darkroom_types::{
    job_id::JobId,
    resource::{WebhookDeliveries, WebhookDelivery, WebhookSecret},
};
use reqwest::Method;

use crate::{Client, Error, call::Idempotency};

impl Client {
    /// What was told of a job's ends, attempt by attempt.
    ///
    /// # Errors
    /// If there is no such job, or nobody can be reached.
    pub async fn list_webhooks(&self, job_id: &JobId) -> Result<WebhookDeliveries, Error> {
        let get = self.of_job(Method::GET, job_id, &["webhooks"]);
        self.call(get, Idempotency::Idempotent).await
    }

    /// Tells of a job's end once more. The message has the same id, so that its receiver knows it.
    ///
    /// # Errors
    /// If there is nothing to tell, or nobody can be reached.
    pub async fn redeliver_webhook(&self, job_id: &JobId) -> Result<WebhookDelivery, Error> {
        let post = self.of_job(Method::POST, job_id, &["webhooks"]);
        self.call(post, Idempotency::Idempotent).await
    }

    /// What signs webhooks to the caller.
    ///
    /// # Errors
    /// If none are sent, the caller may not know, or nobody can be reached.
    pub async fn webhook_secret(&self) -> Result<WebhookSecret, Error> {
        let get = self.request(Method::GET, self.url_of(&["v1", "webhooks", "secret"]));
        self.call(get, Idempotency::Idempotent).await
    }
}
