//! What tests of storing stand on: a stack, a host of outputs that behaves as it is told, and a look into the store.

use aws_sdk_s3::{
    Client as S3,
    config::{BehaviorVersion, Credentials, Region},
};
use darkroom_client::types::{job_id::JobId, resource::Media};
use darkroom_dev::{Options, Stack, s3, versitygw::VersityGateway};
use darkroom_workflows::{
    StorageSweep, WORKFLOW_QUEUE,
    contract::sweep::{SweepInput, Swept},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use temporalio_client::{WorkflowGetResultOptions, WorkflowStartOptions};

use super::{
    harness::{Api, job, start},
    source::SourceServer,
};

/// A stack, a host of outputs and a store that can be looked into.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) api: Api,
    pub(crate) source: SourceServer,
    pub(crate) store: S3,
    pub(crate) bucket: String,
    /// What the worker puts before every key.
    pub(crate) prefix: &'static str,
}

/// A store other than the embedded one.
pub(crate) struct Place {
    /// The endpoint that the worker uses.
    for_worker: String,
    /// The endpoint by which we look into it.
    for_us: String,
    bucket: String,
    credentials: Credentials,
}

impl Place {
    /// A store on loopback.
    pub(crate) fn on_loopback(for_worker: &str, for_us: &str) -> Self {
        let credentials = Credentials::new(s3::ACCESS_KEY, s3::SECRET_KEY, None, None, "tests");
        let (for_worker, for_us) = (for_worker.to_owned(), for_us.to_owned());
        Self {
            for_worker,
            for_us,
            bucket: s3::BUCKET.to_owned(),
            credentials,
        }
    }

    /// The store that the environment names, if it names a bucket for tests.
    pub(crate) fn of_the_environment() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let bucket = variable("DARKROOM_TEST_BUCKET")?;
        let key = variable("AWS_ACCESS_KEY_ID").unwrap();
        let secret = variable("AWS_SECRET_ACCESS_KEY").unwrap();
        let credentials =
            Credentials::new(key, secret, variable("AWS_SESSION_TOKEN"), None, "tests");
        let aws = || format!("https://s3.{}.amazonaws.com", region());
        let endpoint = variable("AWS_ENDPOINT_URL_S3").unwrap_or_else(aws);
        Some(Self {
            for_worker: endpoint.clone(),
            for_us: endpoint,
            bucket,
            credentials,
        })
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("S3_BUCKET", self.bucket.clone()),
            (
                "AWS_ACCESS_KEY_ID",
                self.credentials.access_key_id().to_owned(),
            ),
            (
                "AWS_SECRET_ACCESS_KEY",
                self.credentials.secret_access_key().to_owned(),
            ),
            ("AWS_REGION", region()),
            ("AWS_ENDPOINT_URL_S3", self.for_worker.clone()),
        ];
        variables.extend(
            self.credentials
                .session_token()
                .map(|token| ("AWS_SESSION_TOKEN", token.to_owned())),
        );
        variables
    }

    fn client(&self) -> S3 {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(self.credentials.clone())
            .region(Region::new(region()))
            .endpoint_url(&self.for_us)
            .force_path_style(true);
        S3::from_conf(config.build())
    }
}

fn region() -> String {
    std::env::var("AWS_REGION")
        .ok()
        .filter(|region| !region.is_empty())
        .unwrap_or_else(|| "us-east-1".to_owned())
}

impl World {
    /// Starts a stack with these variables, on its own store or on another.
    pub(crate) async fn start(
        mut options: Options,
        variables: &[(&'static str, &str)],
        place: Option<Place>,
    ) -> Self {
        let source = SourceServer::start().await.unwrap();
        options.variables = variables
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        options
            .variables
            .push(("SOURCE_ALLOW", source.address.to_string()));
        options
            .variables
            .extend(place.iter().flat_map(Place::variables));
        let stack = start(&options).await;
        let place =
            place.unwrap_or_else(|| Place::on_loopback(&stack.s3.endpoint, &stack.s3.endpoint));
        Self {
            api: Api::of(&stack),
            stack,
            source,
            store: place.client(),
            bucket: place.bucket,
            prefix: "",
        }
    }

    /// The same on a Versity gateway, which knows uploads and can be stopped.
    pub(crate) async fn on_gateway(
        options: Options,
        variables: &[(&'static str, &str)],
    ) -> (Self, VersityGateway) {
        let gateway = VersityGateway::start(&options, &|_: &str| {})
            .await
            .unwrap();
        let place = Place::on_loopback(&gateway.endpoint, &gateway.endpoint);
        (Self::start(options, variables, Some(place)).await, gateway)
    }

    /// A job with an output for each of these manners.
    pub(crate) fn job_of(&self, manners: &[&str]) -> Value {
        let urls: Vec<_> = manners
            .iter()
            .map(|manner| self.source.url("file", manner))
            .collect();
        let count = u32::try_from(urls.len()).unwrap();
        job(count, json!({"urls": urls, "webhooks": 0}))
    }

    /// Has a job accepted whose only output is there; it is persisted after a while.
    pub(crate) async fn accept(&self, url: &str) -> JobId {
        self.api
            .accepted(&job(
                1,
                json!({"urls": [url], "latency_ms": 1500, "webhooks": 0}),
            ))
            .await
    }

    /// What is stored must be what the job says, to the byte.
    pub(crate) async fn check_bytes(&self, media: &Media) -> Result<(), String> {
        let key = format!("{}{}", self.prefix, media.s3_key.as_deref().unwrap());
        let object = self
            .store
            .get_object()
            .bucket(&self.bucket)
            .key(&key)
            .send()
            .await
            .unwrap();
        assert_eq!(object.content_encoding(), None, "{key}");
        let content_type = media.content_type.as_deref();
        assert_eq!(object.content_type(), content_type, "{key}");
        let bytes = object.body.collect().await.unwrap().into_bytes();
        let sha256 = hex::encode(Sha256::digest(&bytes));
        let size = Some(bytes.len() as u64);
        if media.size == size && media.sha256.as_ref() == Some(&sha256) {
            return Ok(());
        }
        Err(format!(
            "{key} has {} bytes with SHA-256 {sha256} instead of {media:#?}",
            bytes.len()
        ))
    }

    /// Sweeps all that there is, as the schedule does with what is old.
    pub(crate) async fn sweep(&self) -> Swept {
        self.sweep_some(SweepInput::default().jobs).await
    }

    /// The same for so many jobs at a time.
    pub(crate) async fn sweep_some(&self, jobs: u32) -> Swept {
        let client = self.stack.temporal.client().await.unwrap();
        let options = WorkflowStartOptions::new(WORKFLOW_QUEUE, "sweep-now").build();
        let input = SweepInput {
            uploads_older_than_seconds: 0,
            objects_older_than_seconds: 0,
            jobs,
            ..SweepInput::default()
        };
        let handle = client
            .start_workflow(StorageSweep::run, input, options)
            .await
            .unwrap();
        let swept = handle
            .get_result(WorkflowGetResultOptions::default())
            .await
            .unwrap();
        assert_eq!(swept.failed, 0);
        swept
    }

    /// How many uploads of these jobs are under way.
    pub(crate) async fn uploads_of(&self, ids: &[JobId]) -> usize {
        let listed = self
            .store
            .list_multipart_uploads()
            .bucket(&self.bucket)
            .send()
            .await
            .unwrap();
        let is_of = |key: &str| ids.iter().any(|id| key.contains(id.as_str()));
        listed
            .uploads()
            .iter()
            .filter(|upload| is_of(upload.key().unwrap()))
            .count()
    }

    pub(crate) async fn uploads(&self) -> usize {
        let listed = self
            .store
            .list_multipart_uploads()
            .bucket(&self.bucket)
            .send()
            .await
            .unwrap();
        listed.uploads().len()
    }

    /// The keys of what jobs have in the store.
    pub(crate) async fn objects(&self) -> Vec<String> {
        self.keys(&format!("{}jobs/", self.prefix)).await
    }

    /// The keys that begin so.
    pub(crate) async fn keys(&self, prefix: &str) -> Vec<String> {
        let mut pages = self
            .store
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .into_paginator()
            .send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            keys.extend(
                page.unwrap()
                    .contents()
                    .iter()
                    .map(|object| object.key().unwrap().to_owned()),
            );
        }
        keys
    }
}
