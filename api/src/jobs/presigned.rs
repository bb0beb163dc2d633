//! Presigned URLs of outputs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use darkroom_storage::{Presentation, PresignedUrl};
use darkroom_types::object_key::ObjectKey;
use jiff::Timestamp;
use moka::future::Cache;
use url::Url;

use crate::{
    context::Context,
    problem::{Kind, Problem},
};

/// Validity of a presigned URL.
const VALIDITY: Duration = Duration::from_hours(1);

/// Period as of whose beginning URLs are signed. Within one, all processes return the same URL, so
/// that the `ETag` of a job that has not changed stays the same.
const PERIOD: Duration = Duration::from_mins(15);

/// Shortest remaining validity of a URL that is returned, unless the credentials expire sooner.
const LEAST_VALIDITY: Duration = Duration::from_mins(1);

/// Limit of cached URLs: signing one takes longer than the rest of presenting a job.
const MAX_KEPT: u64 = 20_000;

/// Cache of presigned URLs. Anyone who has a URL can use it.
pub(crate) struct Presigned(Cache<(ObjectKey, Presentation, u64), PresignedUrl>);

impl Presigned {
    pub(crate) fn new() -> Self {
        Self(
            Cache::builder()
                .max_capacity(MAX_KEPT)
                .time_to_live(PERIOD)
                .build(),
        )
    }

    /// Returns a URL of an object that was stored at a time. It is valid for at least 45 minutes,
    /// or until the credentials that sign it expire.
    pub(super) async fn url(
        &self,
        context: &Context,
        s3_key: &ObjectKey,
        stored_at: Timestamp,
    ) -> Result<Url, Problem> {
        self.signed(context, s3_key, stored_at, None)
            .await
            .map(|signed| signed.url)
    }

    /// Returns the same with another disposition than the object was stored with.
    pub(super) async fn signed(
        &self,
        context: &Context,
        s3_key: &ObjectKey,
        stored_at: Timestamp,
        disposition: Option<String>,
    ) -> Result<PresignedUrl, Problem> {
        let presentation = Presentation {
            disposition,
            // Outputs that are generated again are stored under the same keys.
            version: Some(stored_at.into()),
        };
        let now = SystemTime::now();
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let period = since_epoch.as_secs() / PERIOD.as_secs();
        let from = UNIX_EPOCH + Duration::from_secs(period * PERIOD.as_secs());
        let key = (s3_key.clone(), presentation.clone(), period);
        let signed = self
            .0
            .try_get_with(key, presign(context, s3_key, &presentation, from))
            .await
            .map_err(|problem| Problem::clone(&problem))?;
        if signed.expires_at > now + LEAST_VALIDITY {
            return Ok(signed);
        }
        // The credentials have changed since.
        presign(context, s3_key, &presentation, now).await
    }
}

async fn presign(
    context: &Context,
    s3_key: &ObjectKey,
    presentation: &Presentation,
    from: SystemTime,
) -> Result<PresignedUrl, Problem> {
    let storage = &context.storage;
    let signed = storage.presign(s3_key, presentation, from, VALIDITY).await;
    signed.map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "cannot sign a URL");
        Problem::new(
            Kind::StorageUnavailable,
            "the credentials of the store are missing, so URLs cannot be signed; try again",
        )
        .retry_after(5)
    })
}
