//! Presigned URLs, which lead to outputs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use darkroom_storage::{Presentation, PresignedUrl};
use jiff::Timestamp;
use moka::future::Cache;
use url::Url;

use crate::{
    context::Context,
    problem::{Kind, Problem},
};

/// How long a URL that leads to an output is good for.
const VALIDITY: Duration = Duration::from_hours(1);

/// URLs are made as of the beginning of such a period: within one, they are the same for everybody, whichever process makes
/// them, so that a job that has not changed reads the same.
const PERIOD: Duration = Duration::from_mins(15);

/// How long a URL must be good for that is handed out, unless no credentials are that lasting.
const LEAST_VALIDITY: Duration = Duration::from_mins(1);

/// How many URLs are kept: each takes more time to make than all the rest of a job.
const MAX_KEPT: u64 = 20_000;

/// URLs that lead to outputs, for whoever has them.
pub(crate) struct Presigned(Cache<(String, Presentation, u64), PresignedUrl>);

impl Presigned {
    pub(crate) fn new() -> Self {
        Self(
            Cache::builder()
                .max_capacity(MAX_KEPT)
                .time_to_live(PERIOD)
                .build(),
        )
    }

    /// A URL of an object that was stored at a time, good for 45 minutes at least, or for as long as the credentials are that sign
    /// it.
    pub(super) async fn url(
        &self,
        context: &Context,
        s3_key: &str,
        stored_at: Timestamp,
    ) -> Result<Url, Problem> {
        self.signed(context, s3_key, stored_at, None)
            .await
            .map(|signed| signed.url)
    }

    /// The same, of what is to be presented in another way than it was stored for.
    pub(super) async fn signed(
        &self,
        context: &Context,
        s3_key: &str,
        stored_at: Timestamp,
        disposition: Option<String>,
    ) -> Result<PresignedUrl, Problem> {
        let presentation = Presentation {
            disposition,
            // A generation that is made again is stored under the same keys.
            version: Some(stored_at.into()),
        };
        let now = SystemTime::now();
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let period = since_epoch.as_secs() / PERIOD.as_secs();
        let from = UNIX_EPOCH + Duration::from_secs(period * PERIOD.as_secs());
        let key = (s3_key.to_owned(), presentation.clone(), period);
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
    s3_key: &str,
    presentation: &Presentation,
    from: SystemTime,
) -> Result<PresignedUrl, Problem> {
    let storage = &context.storage;
    let signed = storage.presign(s3_key, presentation, from, VALIDITY).await;
    signed.map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "cannot sign a URL");
        Problem::new(
            Kind::StorageUnavailable,
            "there are no credentials to sign URLs with; try again",
        )
        .retry_after(5)
    })
}
