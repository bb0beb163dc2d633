//! What every handler works with.

use std::sync::Arc;

use darkroom_storage::Storage;
use darkroom_telemetry::metrics::Metrics;
use darkroom_workflows::{job::JobId, request::ExpireAfterSeconds, webhook_secret::WebhookSecret};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    access::{ApiKeys, Limits, Peers, StoredKeys},
    feed::Feeds,
    jobs::{Lists, Presigned, view::Views},
    page::{Assets, StoreOrigin},
    readiness::LatestReadiness,
    temporal::Temporal,
    watch::Watches,
};

/// What every handler works with.
pub(crate) struct Context {
    /// Where jobs run.
    pub(crate) temporal: Temporal,
    /// Where media and manifests lie.
    pub(crate) storage: Storage,
    /// The base of links to ourselves.
    pub(crate) public_url: Url,
    /// The base of links into the Temporal UI.
    pub(crate) temporal_ui: Option<Url>,
    /// What signs the provider's reports; without it, none is believed.
    pub(crate) replicate_secret: Option<WebhookSecret>,
    /// Whether the provider's reports reach us.
    pub(crate) expects_reports: bool,
    /// What the secrets of those who are told of the ends of jobs are made of.
    pub(crate) webhook_secret: Option<WebhookSecret>,
    /// Who may call; everybody if there are none.
    pub(crate) keys: ApiKeys,
    /// Keys that were given out over HTTP.
    pub(crate) stored_keys: StoredKeys,
    /// From where they call.
    pub(crate) peers: Arc<Peers>,
    /// Whether what is counted is told elsewhere.
    pub(crate) has_metrics_listener: bool,
    /// How much they may ask for.
    pub(crate) limits: Limits,
    /// How long after their end jobs are deleted that do not say so themselves.
    pub(crate) expire_after: Option<ExpireAfterSeconds>,
    /// Jobs as they were read lately.
    pub(crate) views: Views,
    /// Jobs that are followed.
    pub(crate) watches: Watches,
    /// Tenants all of whose jobs are followed.
    pub(crate) feeds: Feeds,
    /// Pages that were listed lately.
    pub(crate) lists: Lists,
    /// URLs that were signed lately.
    pub(crate) presigned: Presigned,
    /// The page, unless it is turned off.
    pub(crate) page: Option<Assets>,
    /// From where browsers fetch outputs.
    pub(crate) store_origin: StoreOrigin,
    /// How things stood lately.
    pub(crate) readiness: LatestReadiness,
    /// What was counted.
    pub(crate) metrics: Metrics,
    /// When to end what does not end by itself.
    pub(crate) shutdown: CancellationToken,
}

impl Context {
    /// The URL of a job.
    pub(crate) fn job_url(&self, job_id: &JobId) -> String {
        self.url(&format!("/v1/jobs/{job_id}"))
    }

    /// The URL of one of our paths, which begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }
}
