//! Basis of the tests of storing: a stack, an HTTP host of outputs with configurable faults, and
//! direct access to the store.

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
use temporalio_client::{WorkflowGetResultOptions, WorkflowStartOptions};

use super::{
    api::Api,
    harness::{job, owned, sha256, start},
    missing_features::MissingFeature,
    processes::start_gateway,
    proxy::Proxy,
    source::SourceServer,
};

/// A stack, a host of outputs, and an S3 client for the stack's store.
pub(crate) struct TestContext {
    pub(crate) stack: Stack,
    pub(crate) api: Api,
    pub(crate) source: SourceServer,
    pub(crate) store: S3,
    pub(crate) bucket: String,
    /// Prefix that the worker puts before every key.
    pub(crate) prefix: &'static str,
}

/// A stack whose worker reaches its store, a Versity gateway, through a proxy.
pub(crate) struct ProxiedContext {
    pub(crate) context: TestContext,
    pub(crate) proxy: Proxy,
    pub(crate) gateway: VersityGateway,
}

/// A store other than the embedded one.
pub(crate) struct ExternalStore {
    /// The endpoint that the worker uses.
    worker_endpoint: String,
    /// The endpoint that the test uses.
    test_endpoint: String,
    bucket: String,
    credentials: Credentials,
}

impl ExternalStore {
    /// A store on loopback.
    pub(crate) fn on_loopback(worker_endpoint: &str, test_endpoint: &str) -> Self {
        Self {
            worker_endpoint: worker_endpoint.to_owned(),
            test_endpoint: test_endpoint.to_owned(),
            bucket: s3::BUCKET.to_owned(),
            credentials: Credentials::new(s3::ACCESS_KEY, s3::SECRET_KEY, None, None, "tests"),
        }
    }

    /// The store that the standard `AWS_*` variables name, if `DARKROOM_TEST_BUCKET` names a
    /// bucket.
    pub(crate) fn of_the_environment() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let bucket = variable("DARKROOM_TEST_BUCKET")?;
        let required = |name| variable(name).unwrap_or_else(|| panic!("{name} is not set"));
        let key = required("AWS_ACCESS_KEY_ID");
        let secret = required("AWS_SECRET_ACCESS_KEY");
        let credentials =
            Credentials::new(key, secret, variable("AWS_SESSION_TOKEN"), None, "tests");
        let aws = || format!("https://s3.{}.amazonaws.com", region());
        let endpoint = variable("AWS_ENDPOINT_URL_S3").unwrap_or_else(aws);
        Some(Self {
            worker_endpoint: endpoint.clone(),
            test_endpoint: endpoint,
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
            ("AWS_ENDPOINT_URL_S3", self.worker_endpoint.clone()),
        ];
        variables.extend(
            self.credentials
                .session_token()
                .map(|token| ("AWS_SESSION_TOKEN", token.to_owned())),
        );
        variables
    }

    /// A client of the store.
    pub(crate) fn client(&self) -> S3 {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(self.credentials.clone())
            .region(Region::new(region()))
            .endpoint_url(&self.test_endpoint)
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

impl TestContext {
    /// Starts a stack with these variables, on the embedded store or on another one.
    pub(crate) async fn start(
        mut options: Options,
        variables: &[(&'static str, &str)],
        store: Option<ExternalStore>,
    ) -> Self {
        let source = SourceServer::start().await.unwrap();
        options.variables = owned(variables);
        options
            .variables
            .push(("SOURCE_ALLOW", source.address.to_string()));
        options
            .variables
            .extend(store.iter().flat_map(ExternalStore::variables));
        let stack = start(&options).await;
        let endpoint = &stack.s3.endpoint;
        let store = store.unwrap_or_else(|| ExternalStore::on_loopback(endpoint, endpoint));
        Self {
            api: Api::of(&stack),
            stack,
            source,
            store: store.client(),
            bucket: store.bucket,
            prefix: "",
        }
    }

    /// Starts a stack on a Versity gateway, which can list multipart uploads and can be stopped.
    pub(crate) async fn on_gateway(
        options: Options,
        variables: &[(&'static str, &str)],
    ) -> (Self, VersityGateway) {
        let gateway = start_gateway(&options).await;
        let store = ExternalStore::on_loopback(&gateway.endpoint, &gateway.endpoint);
        (Self::start(options, variables, Some(store)).await, gateway)
    }

    /// Starts a stack on a Versity gateway behind a proxy that injects faults. The proxy also hides
    /// this feature of the gateway, if one is given.
    pub(crate) async fn behind_proxy(
        options: Options,
        variables: &[(&'static str, &str)],
        missing_feature: Option<MissingFeature>,
    ) -> ProxiedContext {
        let gateway = start_gateway(&options).await;
        let proxy = Proxy::start(&gateway.endpoint).await;
        proxy.set_missing_feature(missing_feature);
        let store = ExternalStore::on_loopback(&proxy.endpoint, &gateway.endpoint);
        ProxiedContext {
            context: Self::start(options, variables, Some(store)).await,
            proxy,
            gateway,
        }
    }

    /// Request for a job with one output for each query of the source host.
    pub(crate) fn job_of(&self, queries: &[&str]) -> Value {
        let urls: Vec<_> = queries
            .iter()
            .map(|query| self.source.url("file", query))
            .collect();
        let count = u32::try_from(urls.len()).unwrap();
        job(count, json!({"urls": urls, "webhooks": 0}))
    }

    /// Creates a job whose only output has this URL. Its generation takes 1.5 seconds.
    pub(crate) async fn accept(&self, url: &str) -> JobId {
        self.api
            .accepted(&job(
                1,
                json!({"urls": [url], "latency_ms": 1500, "webhooks": 0}),
            ))
            .await
    }

    /// Puts an object.
    pub(crate) async fn put_object(&self, key: &str, bytes: Vec<u8>) {
        let put = self.store.put_object().bucket(&self.bucket).key(key);
        put.body(bytes.into()).send().await.unwrap();
    }

    /// Compares a stored object with what the job says of it. Asserts its content type.
    ///
    /// # Errors
    /// If its size or SHA-256 differs.
    pub(crate) async fn check_bytes(&self, media: &Media) -> Result<(), String> {
        let key = format!("{}{}", self.prefix, media.s3_key.as_ref().unwrap());
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
        let sha256 = sha256(&bytes);
        let size = Some(bytes.len() as u64);
        if media.size == size && media.sha256 == Some(sha256) {
            return Ok(());
        }
        Err(format!(
            "{key} has {} bytes with SHA-256 {sha256} instead of {media:#?}",
            bytes.len()
        ))
    }

    /// Runs the storage sweep over objects and uploads of any age; the scheduled one leaves recent
    /// ones alone.
    pub(crate) async fn sweep(&self) -> Swept {
        self.sweep_some(SweepInput::default().jobs).await
    }

    /// Runs the sweep with a limit of jobs.
    pub(crate) async fn sweep_some(&self, jobs: u32) -> Swept {
        let client = self.stack.temporal.client().await.unwrap();
        let options = WorkflowStartOptions::new(WORKFLOW_QUEUE, "sweep-now").build();
        let input = SweepInput {
            uploads_older_than_seconds: 0,
            objects_older_than_seconds: 0,
            expiries_older_than_seconds: 0,
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

    /// Number of multipart uploads of these jobs under way.
    pub(crate) async fn uploads_of(&self, ids: &[JobId]) -> usize {
        let is_of = |key: &String| ids.iter().any(|id| key.contains(&id.to_string()));
        self.upload_keys().await.into_iter().filter(is_of).count()
    }

    /// Number of all multipart uploads under way.
    pub(crate) async fn uploads(&self) -> usize {
        self.upload_keys().await.len()
    }

    async fn upload_keys(&self) -> Vec<String> {
        let listed = self.store.list_multipart_uploads().bucket(&self.bucket);
        let listed = listed.send().await.unwrap();
        let keys = listed.uploads().iter();
        keys.map(|upload| upload.key().unwrap().to_owned())
            .collect()
    }

    /// Keys of all objects of jobs.
    pub(crate) async fn objects(&self) -> Vec<String> {
        self.keys(&format!("{}jobs/", self.prefix)).await
    }

    /// Keys with a prefix.
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
