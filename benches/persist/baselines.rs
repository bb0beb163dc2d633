//! Baselines of the engine: a raw pipe from the source into the SDK, and a plain program.

use aws_sdk_s3::{
    Client as S3,
    config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation,
        StalledStreamProtectionConfig, retry::RetryConfig,
    },
    primitives::{ByteStream, SdkBody},
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};
use darkroom_activities::persist::engine::BUFFER;
use darkroom_dev::s3;
use futures::TryStreamExt;
use sha2::{Digest, Sha256};

use super::{MIB, Mover, STREAM_MAX, Task};

const STREAMED_PART: u64 = 64 * MIB;

/// Pipes the source into the SDK, with nothing in between.
pub(super) struct Pipe<'a> {
    client: S3,
    /// Client of streamed requests: with the SDK's checksums, or with [`Mover::Bare`] without any.
    streaming: S3,
    http: reqwest::Client,
    task: &'a Task,
}

impl<'a> Pipe<'a> {
    pub(super) fn new(task: &'a Task) -> Self {
        let config = || {
            aws_sdk_s3::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .credentials_provider(Credentials::new(
                    s3::ACCESS_KEY,
                    s3::SECRET_KEY,
                    None,
                    None,
                    "bench",
                ))
                .region(Region::new("us-east-1"))
                .endpoint_url(std::env::var("AWS_ENDPOINT_URL_S3").unwrap())
                .force_path_style(true)
        };
        let client = S3::from_conf(config().build());
        let streaming = if task.mover == Mover::Bare {
            let bare = config()
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .retry_config(RetryConfig::disabled())
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
            S3::from_conf(bare.build())
        } else {
            client.clone()
        };
        Self {
            client,
            streaming,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            task,
        }
    }

    /// Sends the requests that the engine sends for a file of this length.
    pub(super) async fn raw(&self, name: &str) {
        let (client, bucket) = (&self.client, s3::BUCKET);
        let bytes = self.task.load.bytes;
        if bytes <= BUFFER as u64 {
            let body = ByteStream::from(self.get(name, bytes).await.bytes().await.unwrap());
            client
                .put_object()
                .bucket(bucket)
                .key(name)
                .body(body)
                .send()
                .await
                .unwrap();
        } else if bytes <= STREAM_MAX {
            let body = piped(self.get(name, bytes).await);
            let put = self
                .streaming
                .put_object()
                .bucket(bucket)
                .key(name)
                .body(body);
            put.content_length(bytes.try_into().unwrap())
                .customize()
                .disable_payload_signing()
                .send()
                .await
                .unwrap();
        } else {
            let upload = self.begin(name).await;
            let mut parts = Vec::new();
            for number in 1..=i32::try_from(bytes.div_ceil(STREAMED_PART)).unwrap() {
                let body = piped(self.get(name, STREAMED_PART).await);
                let part = self
                    .streaming
                    .upload_part()
                    .bucket(bucket)
                    .key(name)
                    .upload_id(&upload);
                let part = part
                    .part_number(number)
                    .body(body)
                    .content_length(STREAMED_PART.try_into().unwrap());
                let sent = part
                    .customize()
                    .disable_payload_signing()
                    .send()
                    .await
                    .unwrap();
                let part = CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(sent.e_tag);
                parts.push(part.set_checksum_crc32(sent.checksum_crc32).build());
            }
            self.complete(name, &upload, parts).await;
        }
    }

    /// Sends parts of 8 MiB, one after another, and hashes all bytes, as a program does that
    /// verifies what it stored.
    pub(super) async fn plain(&self, name: &str) {
        let (client, bucket) = (&self.client, s3::BUCKET);
        let bytes = self.task.load.bytes;
        if bytes <= BUFFER as u64 {
            return self.raw(name).await;
        }
        let upload = self.begin(name).await;
        let mut arriving = self.get(name, bytes).await.bytes_stream();
        let mut parts = Vec::new();
        let mut part = Vec::new();
        let mut sha256 = Sha256::new();
        loop {
            let chunk = arriving.try_next().await.unwrap();
            sha256.update(chunk.as_deref().unwrap_or_default());
            part.extend_from_slice(chunk.as_deref().unwrap_or_default());
            while part.len() >= BUFFER || (chunk.is_none() && !part.is_empty()) {
                let rest = part.split_off(part.len().min(BUFFER));
                let number = i32::try_from(parts.len() + 1).unwrap();
                let body = ByteStream::from(std::mem::replace(&mut part, rest));
                let sent = client
                    .upload_part()
                    .bucket(bucket)
                    .key(name)
                    .upload_id(&upload)
                    .part_number(number);
                let sent = sent.body(body).send().await.unwrap();
                let part = CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(sent.e_tag);
                parts.push(part.set_checksum_crc32(sent.checksum_crc32).build());
            }
            if chunk.is_none() {
                break;
            }
        }
        self.complete(name, &upload, parts).await;
        std::hint::black_box(sha256.finalize());
    }

    async fn get(&self, name: &str, bytes: u64) -> reqwest::Response {
        self.http
            .get(self.task.url(name, bytes))
            .send()
            .await
            .unwrap()
    }

    async fn begin(&self, name: &str) -> String {
        let request = self
            .client
            .create_multipart_upload()
            .bucket(s3::BUCKET)
            .key(name);
        let algorithm = (self.task.mover != Mover::Bare).then_some(ChecksumAlgorithm::Crc32);
        request
            .set_checksum_algorithm(algorithm)
            .send()
            .await
            .unwrap()
            .upload_id
            .unwrap()
    }

    async fn complete(&self, name: &str, upload: &str, parts: Vec<CompletedPart>) {
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(s3::BUCKET)
            .key(name);
        request
            .upload_id(upload)
            .multipart_upload(parts)
            .send()
            .await
            .unwrap();
    }
}

fn piped(response: reqwest::Response) -> ByteStream {
    ByteStream::new(SdkBody::from_body_1_x(reqwest::Body::from(response)))
}
