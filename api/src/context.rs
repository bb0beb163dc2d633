//! The state that all handlers share.

use std::sync::Arc;

use darkroom_storage::Storage;
use darkroom_telemetry::metrics::Metrics;
use darkroom_workflows::{job::JobId, request::ExpireAfterSeconds, webhook_secret::WebhookSecret};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    access::{ApiKeys, Hosts, Limits, Peers, StoredKeys},
    feed::Feeds,
    jobs::{ListPages, Presigned, view::Views},
    page::{Assets, StoreOrigin},
    readiness::LatestReadiness,
    temporal::Temporal,
    watch::Watches,
};

/// State that all handlers share.
pub(crate) struct Context {
    /// Connection to Temporal.
    pub(crate) temporal: Temporal,
    /// Object store of media and manifests.
    pub(crate) storage: Storage,
    /// Base of this api's own URLs.
    pub(crate) public_url: Url,
    /// Base of links into the Temporal UI.
    pub(crate) temporal_ui: Option<Url>,
    /// Secret that the provider signs its reports with. Without it, reports are rejected.
    pub(crate) replicate_secret: Option<WebhookSecret>,
    /// True if the provider's reports can reach this api.
    pub(crate) expects_reports: bool,
    /// Secret from which the webhook secret of each tenant is derived.
    pub(crate) webhook_secret: Option<WebhookSecret>,
    /// API keys that the operator lists. If there are none, all callers are admitted.
    pub(crate) keys: ApiKeys,
    /// Hosts by which the api may be called.
    pub(crate) hosts: Arc<Hosts>,
    /// API keys issued over HTTP.
    pub(crate) stored_keys: StoredKeys,
    /// Limits per client address.
    pub(crate) peers: Arc<Peers>,
    /// True if metrics are served apart from callers, at `METRICS_LISTEN`.
    pub(crate) has_metrics_listener: bool,
    /// Limits per tenant.
    pub(crate) limits: Limits,
    /// Time from the end of a job to its deletion, unless the job sets its own.
    pub(crate) expire_after: Option<ExpireAfterSeconds>,
    /// Cache of jobs as they were read.
    pub(crate) views: Views,
    /// Jobs that are followed.
    pub(crate) watches: Watches,
    /// Feeds of all jobs of a tenant.
    pub(crate) feeds: Feeds,
    /// Cache of list pages.
    pub(crate) list_pages: ListPages,
    /// Cache of presigned URLs.
    pub(crate) presigned: Presigned,
    /// Files of the web page, unless it is turned off.
    pub(crate) page: Option<Assets>,
    /// Origin from which browsers fetch outputs.
    pub(crate) store_origin: StoreOrigin,
    /// Latest result of the readiness check.
    pub(crate) readiness: LatestReadiness,
    /// Recorded metrics.
    pub(crate) metrics: Metrics,
    /// Canceled on shutdown: ends streams and waits.
    pub(crate) shutdown: CancellationToken,
}

impl Context {
    /// Returns the URL of a job.
    pub(crate) fn job_url(&self, job_id: &JobId) -> String {
        self.url(&format!("/v1/jobs/{job_id}"))
    }

    /// Returns the path of a job, below that of the public URL: for callers that use another host.
    pub(crate) fn job_path(&self, job_id: &JobId) -> String {
        let prefix = self.public_url.path().trim_end_matches('/');
        format!("{prefix}/v1/jobs/{job_id}")
    }

    /// Returns the URL of one of this api's paths, which begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }
}
