//! Presigned URLs, by which any client can fetch an object for a limited time, at the public
//! endpoint. A URL expires with the credentials that signed it, if these expire first, and its
//! stated expiry says so.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::{Result, ensure};
use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::{Client, config::Builder, presigning::PresigningConfig};
use darkroom_types::object_key::ObjectKey;
use futures::FutureExt;
use url::Url;

use crate::Storage;

/// Longest validity that S3 accepts: a week.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html>
const LONGEST: Duration = Duration::from_hours(168);

/// A URL and its expiry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PresignedUrl {
    /// The URL.
    pub url: Url,
    /// Time at which it expires.
    pub expires_at: SystemTime,
}

/// Headers that the store is to answer with.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Presentation {
    /// `Content-Disposition`, instead of the object's own.
    pub disposition: Option<String>,
    /// Time at which the object was written, for objects that may be replaced. It gives each
    /// version a URL of its own, so that no cache returns one for the other. It is sent as
    /// `Expires`, which the `Cache-Control` that is then in the answer overrides.
    /// <https://www.rfc-editor.org/rfc/rfc9111#section-5.3>
    pub version: Option<SystemTime>,
}

/// Signer of presigned URLs.
#[derive(Clone, Debug)]
pub(crate) struct Presigner {
    client: Client,
    credentials: CredentialsExpiry,
}

impl Presigner {
    /// Creates a presigner for this endpoint, or for the one of all other requests.
    pub(crate) fn new(shared: &SdkConfig, mut builder: Builder, endpoint: Option<Url>) -> Self {
        let credentials = CredentialsExpiry::default();
        if let Some(provider) = shared.credentials_provider() {
            let expiry = credentials.clone();
            builder = builder.credentials_provider(ExpiryRecorder { provider, expiry });
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
    /// Returns a presigned URL of an object that is valid from `from` for `validity`, or until the
    /// credentials that sign it expire.
    ///
    /// # Errors
    /// If the validity is over a week, or there are no credentials to sign with.
    pub async fn presign(
        &self,
        key: &ObjectKey,
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
            let request = request.presigned(config).boxed().await?;
            anyhow::Ok(PresignedUrl {
                url: request.uri().parse()?,
                expires_at: from + validity,
            })
        };
        let signed = sign(validity).await?;
        // Only now is it known which credentials signed.
        match self.presigner.credentials.get() {
            Some(end) if end < signed.expires_at => {
                let left = end.duration_since(from).unwrap_or_default();
                sign(left.max(Duration::from_secs(1))).await
            }
            _ => Ok(signed),
        }
    }
}

/// Expiry of the latest credentials, if they expire.
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

/// Credentials provider that records the expiry of the credentials it returns.
#[derive(Debug)]
struct ExpiryRecorder {
    provider: SharedCredentialsProvider,
    expiry: CredentialsExpiry,
}

impl ProvideCredentials for ExpiryRecorder {
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
