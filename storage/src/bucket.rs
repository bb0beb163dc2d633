//! The bucket that everything is stored in: the standard `AWS_*` through aws-config, and what they leave open in `S3_*`.
//! What lies in the bucket is not known here.

use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

use anyhow::{Result, ensure};
use aws_config::{BehaviorVersion, Region, timeout::TimeoutConfig};
use aws_sdk_s3::{
    Client,
    config::{
        Builder, RequestChecksumCalculation, ResponseChecksumValidation,
        StalledStreamProtectionConfig, retry::RetryConfig,
    },
    error::DisplayErrorContext,
    presigning::PresigningConfig,
    types::ServerSideEncryption,
};
use darkroom_config::Variable;
use url::Url;

const S3_BUCKET: Variable = Variable::new("S3_BUCKET", "darkroom");
const S3_KEY_PREFIX: Variable = Variable::new("S3_KEY_PREFIX", "production/");
const S3_PUBLIC_ENDPOINT: Variable =
    Variable::new("S3_PUBLIC_ENDPOINT", "https://media.example.com");
const S3_PATH_STYLE: Variable = Variable::new("S3_PATH_STYLE", "true");
const S3_CHECKSUMS: Variable = Variable::new("S3_CHECKSUMS", "when_required");
const S3_SERVER_SIDE_ENCRYPTION: Variable = Variable::new("S3_SERVER_SIDE_ENCRYPTION", "aws:kms");
const S3_KMS_KEY_ID: Variable = Variable::new("S3_KMS_KEY_ID", "alias/darkroom");
const AWS_ENDPOINT_URL_S3: Variable =
    Variable::new("AWS_ENDPOINT_URL_S3", "https://s3.example.com");
const AWS_REGION: Variable = Variable::new("AWS_REGION", "eu-central-1");

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A bucket and a client for it.
#[derive(Clone, Debug)]
pub struct Storage {
    /// Speaks to the store.
    pub client: Client,
    /// The same for bodies that are still arriving: without a deadline of its own, and tried once, as nothing is kept that
    /// could be sent again. It adds no checksum either.
    pub streaming: Client,
    /// The bucket.
    pub bucket: String,
    /// How objects are encrypted at rest, if not as the bucket has it.
    pub encryption: Option<Encryption>,
    /// Whether requests carry checksums beyond what they must.
    pub checksums: Checksums,
    prefix: String,
    public: Client,
}

impl Storage {
    /// Reads the environment. The store itself is not asked.
    ///
    /// # Errors
    /// If a variable is malformed or a region is neither given nor implied by an endpoint.
    pub async fn from_env() -> Result<Self> {
        let bucket = S3_BUCKET.or("darkroom".to_owned())?;
        let prefix = S3_KEY_PREFIX.or(String::new())?;
        let public_endpoint = S3_PUBLIC_ENDPOINT.optional::<Url>()?;
        let checksums = S3_CHECKSUMS.or(Checksums::WhenSupported)?;
        let path_style = S3_PATH_STYLE.optional::<bool>()?;

        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(Duration::from_mins(1))
            .build();
        let shared = aws_config::defaults(BehaviorVersion::latest())
            .timeout_config(timeouts)
            .load()
            .await;
        let plain = Client::new(&shared);
        let endpoint_given =
            AWS_ENDPOINT_URL_S3.optional::<Url>()?.is_some() || shared.endpoint_url().is_some();
        let region = match shared.region().filter(|region| !region.as_ref().is_empty()) {
            Some(region) => region.clone(),
            None if endpoint_given => Region::from_static("us-east-1"),
            None => {
                return Err(AWS_REGION
                    .invalid("is missing, and no endpoint is set")
                    .into());
            }
        };
        let configure = |builder: Builder| {
            let (request, response) = checksums.into_sdk();
            builder
                .region(region.clone())
                .force_path_style(path_style.unwrap_or(endpoint_given))
                .request_checksum_calculation(request)
                .response_checksum_validation(response)
        };
        let client = Client::from_conf(configure(plain.config().to_builder()).build());
        let streaming = client
            .config()
            .to_builder()
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .build(),
            );
        let public = match public_endpoint {
            Some(url) => Client::from_conf(
                configure(plain.config().to_builder())
                    .endpoint_url(url)
                    .build(),
            ),
            None => client.clone(),
        };
        Ok(Self {
            streaming: Client::from_conf(streaming.build()),
            client,
            bucket,
            encryption: Encryption::from_env()?,
            checksums,
            prefix,
            public,
        })
    }

    /// A key as the store knows it.
    #[must_use]
    pub fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Checks that the bucket is there and lets us in.
    ///
    /// # Errors
    /// If the store refuses or does not answer.
    pub async fn check(&self) -> Result<(), StorageCheck> {
        let sent = self.client.head_bucket().bucket(&self.bucket).send().await;
        let Err(error) = sent else { return Ok(()) };
        let explained = DisplayErrorContext(&error).to_string();
        // A HEAD has no body, so the status is all that says why.
        match error
            .raw_response()
            .map(|response| response.status().as_u16())
        {
            Some(status) if (400..500).contains(&status) => Err(StorageCheck::Refused {
                bucket: self.bucket.clone(),
                status,
            }),
            Some(_) | None => Err(StorageCheck::Away(explained)),
        }
    }

    /// A URL by which anyone who has it can fetch an object for a while, at the endpoint that the public sees.
    ///
    /// # Errors
    /// If the validity is over a week or there are no credentials to sign with.
    pub async fn presign(&self, key: &str, from: SystemTime, validity: Duration) -> Result<Url> {
        const WEEK: Duration = Duration::from_hours(168);
        ensure!(
            validity <= WEEK,
            "a presigned URL is valid for a week at most"
        );
        let request = self
            .public
            .get_object()
            .bucket(&self.bucket)
            .key(self.full_key(key));
        let presigned = request
            .presigned(
                PresigningConfig::builder()
                    .start_time(from)
                    .expires_in(validity)
                    .build()?,
            )
            .await?;
        Ok(presigned.uri().parse()?)
    }
}

/// Why the bucket cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageCheck {
    /// The store answers and says no.
    #[error(
        "the store refuses the bucket {bucket:?} with status {status}; check S3_BUCKET, AWS_ENDPOINT_URL_S3 and the AWS credentials"
    )]
    Refused {
        /// The bucket.
        bucket: String,
        /// The HTTP status.
        status: u16,
    },
    /// The store does not answer, or fails on its side.
    #[error("the store does not answer: {0}")]
    Away(String),
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

impl Checksums {
    fn into_sdk(self) -> (RequestChecksumCalculation, ResponseChecksumValidation) {
        match self {
            Self::WhenSupported => (
                RequestChecksumCalculation::WhenSupported,
                ResponseChecksumValidation::WhenSupported,
            ),
            Self::WhenRequired => (
                RequestChecksumCalculation::WhenRequired,
                ResponseChecksumValidation::WhenRequired,
            ),
        }
    }
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
