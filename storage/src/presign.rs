//! URLs by which anyone who has them can fetch an object for a while, at the endpoint that the public sees. One ends with the
//! credentials that signed it, if these end first, so it never claims more.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::{Result, ensure};
use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::{Client, config::Builder, presigning::PresigningConfig};
use url::Url;

use crate::Storage;

/// The longest that S3 honours. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html>
const LONGEST: Duration = Duration::from_hours(168);

/// A URL, and until when it is good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PresignedUrl {
    /// The URL.
    pub url: Url,
    /// When it ends.
    pub expires_at: SystemTime,
}

/// How the store is to answer.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Presentation {
    /// The `Content-Disposition`, instead of the object's own.
    pub disposition: Option<String>,
    /// When the object was written, of those that may be replaced: another object has another URL, so that nobody keeps the one for
    /// the other. It goes as `Expires`, which counts for nothing beside the `Cache-Control` that the answer has then.
    /// <https://www.rfc-editor.org/rfc/rfc9111#section-5.3>
    pub version: Option<SystemTime>,
}

/// What signs.
#[derive(Clone, Debug)]
pub(crate) struct Presigner {
    client: Client,
    credentials: CredentialsExpiry,
}

impl Presigner {
    /// A presigner for an endpoint, or for that of everything else.
    pub(crate) fn new(shared: &SdkConfig, mut builder: Builder, endpoint: Option<Url>) -> Self {
        let credentials = CredentialsExpiry::default();
        if let Some(provider) = shared.credentials_provider() {
            let expiry = credentials.clone();
            builder = builder.credentials_provider(Observed { provider, expiry });
        }
        if let Some(endpoint) = endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        Self {
            client: Client::from_conf(builder.build()),
            credentials,
        }
    }
}

impl Storage {
    /// A URL of an object that is good from `from` for `validity`, or for as long as the credentials are that sign it.
    ///
    /// # Errors
    /// If the validity is over a week or there are no credentials to sign with.
    pub async fn presign(
        &self,
        key: &str,
        presentation: &Presentation,
        from: SystemTime,
        validity: Duration,
    ) -> Result<PresignedUrl> {
        ensure!(
            validity <= LONGEST,
            "a presigned URL is valid for a week at most"
        );
        let sign = async |validity| {
            let config = PresigningConfig::builder()
                .start_time(from)
                .expires_in(validity)
                .build()?;
            let request = self.presigner.client.get_object().bucket(&self.bucket);
            let request = request
                .key(self.full_key(key))
                .set_response_content_disposition(presentation.disposition.clone());
            let request = match presentation.version {
                Some(version) => request
                    .response_cache_control(format!("private, max-age={}", validity.as_secs()))
                    .response_expires(version.into()),
                None => request,
            };
            let request = request.presigned(config).await?;
            anyhow::Ok(PresignedUrl {
                url: request.uri().parse()?,
                expires_at: from + validity,
            })
        };
        let signed = sign(validity).await?;
        // Which credentials sign is known only now.
        match self.presigner.credentials.get() {
            Some(end) if end < signed.expires_at => {
                let left = end.duration_since(from).unwrap_or_default();
                sign(left.max(Duration::from_secs(1))).await
            }
            _ => Ok(signed),
        }
    }
}

/// When the latest credentials end, if they do.
#[derive(Clone, Debug, Default)]
struct CredentialsExpiry(Arc<Mutex<Option<SystemTime>>>);

impl CredentialsExpiry {
    fn get(&self) -> Option<SystemTime> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, expiry: Option<SystemTime>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = expiry;
    }
}

/// Credentials whose end is noted as they are provided.
#[derive(Debug)]
struct Observed {
    provider: SharedCredentialsProvider,
    expiry: CredentialsExpiry,
}

impl ProvideCredentials for Observed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            let credentials = self.provider.provide_credentials().await?;
            self.expiry.set(credentials.expiry());
            Ok(credentials)
        })
    }
}
