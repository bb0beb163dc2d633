//! The bucket that everything is stored in: the standard `AWS_*` through aws-config, and what they leave open in `S3_*`.
//! What lies in the bucket is not known here.

use std::{str::FromStr, time::Duration};

use anyhow::{Result, ensure};
use aws_config::{BehaviorVersion, Region, SdkConfig, timeout::TimeoutConfig};
use aws_sdk_s3::{
    Client,
    config::{
        Builder, RequestChecksumCalculation, ResponseChecksumValidation,
        StalledStreamProtectionConfig, retry::RetryConfig,
    },
    types::ServerSideEncryption,
};
use url::Url;

use crate::{
    Feature, StorageError,
    features::Features,
    presign::Presigner,
    variables::{
        AWS_ENDPOINT_URL_S3, AWS_REGION, S3_BUCKET, S3_CHECKSUMS, S3_CONDITIONAL_WRITES,
        S3_KEY_PREFIX, S3_KMS_KEY_ID, S3_PATH_STYLE, S3_PUBLIC_ENDPOINT, S3_SERVER_SIDE_ENCRYPTION,
    },
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an attempt at a request may take whose body is at hand.
const ATTEMPT_TIMEOUT: Duration = Duration::from_mins(1);

/// A bucket, what speaks to its store, and what is known of that.
#[derive(Clone, Debug)]
pub struct Storage {
    /// The bucket.
    pub bucket: String,
    /// Speaks to the store.
    pub(crate) client: Client,
    /// The same for bodies that are still arriving: without a deadline of its own, and tried once, as nothing is kept that
    /// could be sent again.
    pub(crate) streaming: Client,
    pub(crate) presigner: Presigner,
    pub(crate) features: Features,
    /// Whether keys can be kept from being overwritten, where the operator knows better than a probe.
    pub(crate) conditional_writes: Option<bool>,
    checksums: Checksums,
    encryption: Option<Encryption>,
    prefix: String,
    /// Where presigned URLs lead, if not to AWS.
    pub signed_for: Option<Url>,
}

impl Storage {
    /// Reads the environment. The store itself is not asked.
    ///
    /// # Errors
    /// If a variable is malformed or a region is neither given nor implied by an endpoint.
    pub async fn from_env() -> Result<Self> {
        let bucket = S3_BUCKET.value::<String>()?;
        let prefix = S3_KEY_PREFIX.or(String::new())?;
        if !prefix.is_empty() && !prefix.ends_with('/') {
            let problem = format!("{prefix:?} has no slash at its end, and keys would run into it");
            return Err(S3_KEY_PREFIX.invalid(problem).into());
        }
        let public_endpoint = S3_PUBLIC_ENDPOINT.optional::<Url>()?;
        let signed_for = match &public_endpoint {
            Some(endpoint) => Some(endpoint.clone()),
            None => AWS_ENDPOINT_URL_S3.optional()?,
        };
        let checksums = S3_CHECKSUMS.value::<Checksums>()?;
        let conditional_writes = S3_CONDITIONAL_WRITES.optional::<bool>()?;
        let encryption = Encryption::from_env()?;

        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let shared = aws_config::defaults(BehaviorVersion::latest())
            .timeout_config(timeouts)
            .load()
            .await;
        let configured = configured(&shared)?;
        let client = Client::from_conf(configured.clone().build());
        let presigner = Presigner::new(&shared, configured, public_endpoint);
        let features = Features::new();
        features.set(
            Feature::ConditionalWrites,
            conditional_writes.unwrap_or(true),
        );
        let with_checksums = checksums == Checksums::WhenSupported;
        features.set(Feature::Checksums, with_checksums);
        features.set(Feature::StreamedTrailers, with_checksums);
        Ok(Self {
            streaming: streaming(&client),
            client,
            presigner,
            bucket,
            features,
            conditional_writes,
            checksums,
            encryption,
            prefix,
            signed_for,
        })
    }

    /// A key as the store knows it.
    #[must_use]
    pub fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// A key of the store as we know it, if it is ours.
    pub(crate) fn own_key(&self, full_key: &str) -> Option<String> {
        full_key.strip_prefix(&self.prefix).map(str::to_owned)
    }

    /// Whether the store can do this, as far as is known.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        self.features.has(feature)
    }

    /// Remembers that a store has refused what needs this.
    pub fn lacks(&self, feature: Feature) {
        self.features.set(feature, false);
    }

    /// Checks that the bucket is there and lets us in. Whether it can be written to, a [probe](Storage::probe) tells.
    ///
    /// # Errors
    /// If the store refuses or does not answer.
    pub async fn check(&self) -> Result<(), StorageError> {
        match self.client.head_bucket().bucket(&self.bucket).send().await {
            Ok(_) => Ok(()),
            Err(error) => match StorageError::of("HeadBucket", &error) {
                StorageError::NotFound => Err(StorageError::no_bucket()),
                error => Err(error),
            },
        }
    }

    /// Whether the bucket keeps earlier versions of its objects, and so all that is removed: with object lock, it must.
    ///
    /// # Errors
    /// If the store does not tell.
    pub async fn keeps_versions(&self) -> Result<bool, StorageError> {
        let request = self.client.get_bucket_versioning().bucket(&self.bucket);
        let answer = request.send().await;
        let versioning = answer.map_err(|error| StorageError::of("GetBucketVersioning", &error))?;
        Ok(versioning.status.is_some())
    }

    /// Whether requests carry checksums beyond what they must.
    pub(crate) fn adds_checksums(&self) -> bool {
        self.has(Feature::Checksums)
    }

    /// Whether they may, as far as the operator knows.
    pub(crate) fn may_add_checksums(&self) -> bool {
        self.checksums == Checksums::WhenSupported
    }

    pub(crate) fn sse_method(&self) -> Option<ServerSideEncryption> {
        let encryption = self.encryption.as_ref()?;
        Some(encryption.method.clone())
    }

    pub(crate) fn sse_key_id(&self) -> Option<String> {
        self.encryption.as_ref()?.key_id.clone()
    }
}

/// How a client is configured by the environment.
fn configured(shared: &SdkConfig) -> Result<Builder> {
    let endpoint_given =
        AWS_ENDPOINT_URL_S3.optional::<Url>()?.is_some() || shared.endpoint_url().is_some();
    let path_style = S3_PATH_STYLE.optional::<bool>()?;
    let region = match shared.region().filter(|region| !region.as_ref().is_empty()) {
        Some(region) => region.clone(),
        None if endpoint_given => Region::from_static("us-east-1"),
        None => {
            return Err(AWS_REGION
                .invalid("is missing, and no endpoint is set")
                .into());
        }
    };
    // Each request says for itself which checksums it carries, as far as the store takes any.
    Ok(Builder::from(shared)
        .region(region)
        .force_path_style(path_style.unwrap_or(endpoint_given))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired))
}

fn streaming(client: &Client) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .build();
    let builder = client
        .config()
        .to_builder()
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(timeouts);
    Client::from_conf(builder.build())
}

/// How objects are encrypted at rest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Encryption {
    /// The method.
    pub method: ServerSideEncryption,
    /// The key, where the method lets one choose.
    pub key_id: Option<String>,
}

impl Encryption {
    fn from_env() -> Result<Option<Self>> {
        let key_id = S3_KMS_KEY_ID.optional::<String>()?;
        let Some(method) = S3_SERVER_SIDE_ENCRYPTION.optional::<String>()? else {
            ensure!(
                key_id.is_none(),
                S3_KMS_KEY_ID.invalid("needs S3_SERVER_SIDE_ENCRYPTION=aws:kms")
            );
            return Ok(None);
        };
        let method = ServerSideEncryption::try_parse(&method).map_err(|_| {
            S3_SERVER_SIDE_ENCRYPTION.invalid("must be AES256, aws:kms or aws:kms:dsse")
        })?;
        Ok(Some(Self { method, key_id }))
    }
}

/// Whether requests carry checksums beyond what they must: some stores refuse them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Checksums {
    /// Wherever they can: the default.
    WhenSupported,
    /// Only where they must: signatures vouch for the bytes instead.
    WhenRequired,
}

impl FromStr for Checksums {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "when_supported" => Ok(Self::WhenSupported),
            "when_required" => Ok(Self::WhenRequired),
            _ => Err("must be when_supported or when_required"),
        }
    }
}
