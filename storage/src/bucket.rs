//! The bucket that everything is stored in, and its clients. They are configured by the standard
//! `AWS_*` variables through aws-config, and by `S3_*` for what those leave open. The content of
//! the bucket is not known here.

use std::{env, fmt::Display, str::FromStr, time::Duration};

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
use futures::{FutureExt, future::BoxFuture};
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

/// Timeout of one attempt at a request whose body is in memory.
const ATTEMPT_TIMEOUT: Duration = Duration::from_mins(1);

/// A bucket, the clients of its store, and the known features of the store.
#[derive(Clone, Debug)]
pub struct Storage {
    /// Name of the bucket.
    pub bucket: String,
    /// Client for requests whose bodies are in memory.
    pub(crate) client: Client,
    /// Client for bodies that are still arriving. It has no operation timeout and no retries, as no
    /// bytes are kept that could be sent again.
    pub(crate) streaming: Client,
    pub(crate) presigner: Presigner,
    pub(crate) features: Features,
    /// Support for conditional writes, if the operator has configured it instead of leaving it to
    /// the probe.
    pub(crate) conditional_writes: Option<bool>,
    checksums: Checksums,
    encryption: Option<Encryption>,
    prefix: String,
    /// Endpoint of presigned URLs, if not AWS.
    pub presign_endpoint: Option<Url>,
}

impl Storage {
    /// Reads the environment. Sends no request to the store.
    ///
    /// # Errors
    /// If a variable is malformed, or a region is neither given nor implied by an endpoint.
    #[must_use]
    pub fn from_env() -> BoxFuture<'static, Result<Self>> {
        // Boxed here: a future is compiled where it is polled.
        Self::load().boxed()
    }

    async fn load() -> Result<Self> {
        let bucket = S3_BUCKET.value::<String>()?;
        let prefix = S3_KEY_PREFIX.or(String::new())?;
        if !prefix.is_empty() && !prefix.ends_with('/') {
            let problem = format!("{prefix:?} must end with a slash, or it runs into the keys");
            return Err(S3_KEY_PREFIX.invalid(problem).into());
        }
        let public_endpoint = S3_PUBLIC_ENDPOINT.optional::<Url>()?;
        let presign_endpoint = match &public_endpoint {
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
        // Each answer has a timeout of its own. The protection would end one after a few silent
        // seconds, such as that to the completion of an upload, which comes when the store has
        // assembled it.
        let shared = aws_config::defaults(BehaviorVersion::latest())
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
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
            presign_endpoint,
        })
    }

    /// Returns the key as it is in the bucket, with the configured prefix.
    #[must_use]
    pub fn full_key(&self, key: impl Display) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Returns the key without the configured prefix; `None` if it does not begin with that.
    pub(crate) fn strip_key_prefix<'a>(&self, full_key: &'a str) -> Option<&'a str> {
        full_key.strip_prefix(&self.prefix)
    }

    /// Returns true if the store has this feature, as far as is known.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        self.features.has(feature)
    }

    /// Records that the store is missing this feature, as it refused a request that needs it.
    pub fn lacks(&self, feature: Feature) {
        self.features.set(feature, false);
    }

    /// Checks that the bucket exists and can be accessed. [Probing](Storage::probe) shows if it can
    /// be written to.
    ///
    /// # Errors
    /// If the store refuses or does not answer.
    pub async fn check(&self) -> Result<(), StorageError> {
        let request = self.client.head_bucket().bucket(&self.bucket);
        match request.send().boxed().await {
            Ok(_) => Ok(()),
            Err(error) => match StorageError::of("HeadBucket", &error) {
                StorageError::NotFound => Err(StorageError::no_bucket()),
                error => Err(error),
            },
        }
    }

    /// Returns true if the bucket keeps earlier versions of its objects, and so everything that is
    /// deleted. With object lock, it must.
    ///
    /// # Errors
    /// If the store refuses or does not answer.
    pub async fn keeps_versions(&self) -> Result<bool, StorageError> {
        let request = self.client.get_bucket_versioning().bucket(&self.bucket);
        let answer = request.send().boxed().await;
        let versioning = answer.map_err(|error| StorageError::of("GetBucketVersioning", &error))?;
        Ok(versioning.status.is_some())
    }

    /// Returns true if requests carry optional checksums.
    pub(crate) fn adds_checksums(&self) -> bool {
        self.has(Feature::Checksums)
    }

    /// Returns true if the configuration allows optional checksums.
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

/// Builds the configuration of a client from the environment.
fn configured(shared: &SdkConfig) -> Result<Builder> {
    let of_all_services = shared.endpoint_url().filter(|url| !url.is_empty());
    let of_s3 = AWS_ENDPOINT_URL_S3.optional::<Url>()?;
    let endpoint_given = of_s3.is_some() || of_all_services.is_some();
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
    let mut builder = Builder::from(shared);
    // The SDK takes a variable that is set and empty for an endpoint.
    let is_empty = |name| env::var_os(name).is_some_and(|value| value.is_empty());
    let names = [AWS_ENDPOINT_URL_S3.name, "AWS_ENDPOINT_URL"];
    if of_s3.is_none() && names.into_iter().any(is_empty) {
        builder.set_endpoint_url(of_all_services.map(str::to_owned));
    }
    // Each request sets its own checksums, as far as the store supports them.
    Ok(builder
        .region(region)
        .force_path_style(path_style.unwrap_or(endpoint_given))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired))
}

fn streaming(client: &Client) -> Client {
    // A timeout that is merely not set would be inherited from the client.
    let timeouts = TimeoutConfig::builder()
        .disable_operation_attempt_timeout()
        .build();
    let builder = client
        .config()
        .to_builder()
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts);
    Client::from_conf(builder.build())
}

/// Server-side encryption of objects.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Encryption {
    /// Encryption method.
    pub method: ServerSideEncryption,
    /// KMS key, if the method takes one.
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

/// Use of optional checksums: some stores refuse them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Checksums {
    /// Wherever they are supported: the default.
    WhenSupported,
    /// Only where they are required: signatures protect the bytes instead.
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
