//! What tests of storing stand on: a stack, a host of outputs that behaves as it is told, and a look into the store.

use aws_sdk_s3::{
    Client as S3,
    config::{BehaviorVersion, Credentials, Region},
};
use darkroom::dev::{Options, Stack, s3, source::SourceServer};
use darkroom_workflows::{GENERATE_QUEUE, StorageSweep, activities::SweepInput};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use temporalio_client::{WorkflowGetResultOptions, WorkflowStartOptions};

use crate::harness::{Api, job, start};

/// A stack, a host of outputs and a store that can be looked into.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) api: Api,
    pub(crate) source: SourceServer,
    pub(crate) store: S3,
}

impl World {
    /// Starts a stack with these variables. `store` is the endpoint that the worker is to use instead of the embedded one,
    /// and the one that we look into.
    pub(crate) async fn start(
        mut options: Options,
        variables: &[(&'static str, &str)],
        store: Option<(&str, &str)>,
    ) -> Self {
        let source = SourceServer::start().await.unwrap();
        options.variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        options.variables.push(("SOURCE_ALLOW", source.address.to_string()));
        options.variables.extend(store.map(|(endpoint, _)| ("AWS_ENDPOINT_URL_S3", endpoint.to_owned())));
        let stack = start(&options).await;
        let store = client(store.map_or(stack.s3.endpoint.as_str(), |(_, endpoint)| endpoint));
        Self { api: Api::of(&stack), stack, source, store }
    }

    /// Has a job accepted whose only output is there; it is persisted after a while.
    pub(crate) async fn accept(&self, url: &str) -> String {
        self.api.accepted(&job(1, json!({"urls": [url], "latency_ms": 1500, "webhooks": 0}))).await
    }

    /// What is stored must be what the job says, to the byte.
    pub(crate) async fn check_bytes(&self, media: &Value) -> Result<(), String> {
        let key = media["s3_key"].as_str().unwrap();
        let object = self.store.get_object().bucket(s3::BUCKET).key(key).send().await.unwrap();
        let bytes = object.body.collect().await.unwrap().into_bytes();
        let sha256 = hex::encode(Sha256::digest(&bytes));
        if media["size"] == bytes.len() && media["sha256"] == sha256 {
            return Ok(());
        }
        Err(format!("{key} has {} bytes with SHA-256 {sha256} instead of {media:#}", bytes.len()))
    }

    /// Sweeps everything that is under way, as the schedule does with what is old.
    pub(crate) async fn sweep(&self) {
        let client = self.stack.temporal.client().await.unwrap();
        let options = WorkflowStartOptions::new(GENERATE_QUEUE, "sweep-now").build();
        let input = SweepInput { older_than_seconds: 0 };
        let handle = client.start_workflow(StorageSweep::run, input, options).await.unwrap();
        let swept = handle.get_result(WorkflowGetResultOptions::default()).await.unwrap();
        assert_eq!(swept.failed, 0);
    }

    pub(crate) async fn uploads(&self) -> usize {
        let listed = self.store.list_multipart_uploads().bucket(s3::BUCKET).send().await.unwrap();
        listed.uploads().len()
    }

    pub(crate) async fn objects(&self) -> Vec<String> {
        let mut pages = self.store.list_objects_v2().bucket(s3::BUCKET).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            keys.extend(page.unwrap().contents().iter().map(|object| object.key().unwrap().to_owned()));
        }
        keys
    }
}

fn client(endpoint: &str) -> S3 {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::new(s3::ACCESS_KEY, s3::SECRET_KEY, None, None, "tests"))
        .region(Region::from_static("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true);
    S3::from_conf(config.build())
}
