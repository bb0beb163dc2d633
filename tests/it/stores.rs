//! Stores with missing features, in which the same rules hold, and stores that cannot be written
//! to, for which nothing is bought.

use std::path::PathBuf;

use darkroom_client::types::{
    provider::PredictionStatus,
    status::{JobStatus, Stage},
};
use darkroom_dev::{Options, versitygw::VersityGateway};
use futures::future::join_all;
use jiff::Timestamp;
use serde_json::json;

use crate::{
    support::{
        context::{ProxiedContext, TestContext},
        harness::{DEADLINE, bought, bought_one, endless, job, options, until},
        missing_features::MissingFeature,
        processes::metrics_address,
        proxy::Proxy,
    },
    uploads::{STREAM_MAX, rules},
};

/// A stack on a store with a missing feature.
struct LimitedStore {
    context: TestContext,
    proxy: Proxy,
    directory: PathBuf,
    _gateway: VersityGateway,
}

impl LimitedStore {
    async fn start(
        options: Options,
        missing_feature: Option<MissingFeature>,
        variables: &[(&'static str, &str)],
    ) -> Self {
        let metrics = ("METRICS_LISTEN", "127.0.0.1:0");
        let variables = [&[STREAM_MAX, metrics][..], variables].concat();
        let directory = options.directory.clone();
        let ProxiedContext {
            context,
            proxy,
            gateway,
        } = TestContext::behind_proxy(options, &variables, missing_feature).await;
        Self {
            context,
            proxy,
            directory,
            _gateway: gateway,
        }
    }

    /// Status and body of the worker's `/readyz`.
    async fn readiness(&self) -> (u16, String) {
        let address = metrics_address(&self.directory, "worker");
        let url = format!("http://{address}/readyz");
        let answer = self.context.api.http.get(url).send();
        let answer = answer.await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Waits until the worker that was started last reports this reason for not being ready.
    async fn until_not_ready(&self, reason: &str) {
        until(&format!("worker that says {reason}"), async || {
            let (status, body) = self.readiness().await;
            (status == 503 && body.contains(reason)).then_some(())
        })
        .await;
    }
}

async fn rules_hold(name: &str, missing: MissingFeature, variables: &[(&'static str, &str)]) {
    let store = LimitedStore::start(options(name), Some(missing), variables).await;
    rules(&store.context).await;
    store.context.sweep().await;
    assert_eq!(store.context.uploads().await, 0);
}

#[tokio::test]
async fn the_rules_hold_without_conditional_writes() {
    let missing = MissingFeature::ConditionalWrites(501, "NotImplemented");
    rules_hold("rules-unconditional", missing, &[]).await;
}

#[tokio::test]
async fn the_rules_hold_where_conditions_are_invalid() {
    let missing = MissingFeature::ConditionalWrites(400, "InvalidArgument");
    rules_hold("rules-conditions-invalid", missing, &[]).await;
}

#[tokio::test]
async fn the_rules_hold_where_conditions_are_ignored() {
    rules_hold("rules-conditions-ignored", MissingFeature::Conditions, &[]).await;
}

#[tokio::test]
async fn the_rules_hold_without_streamed_trailers() {
    rules_hold("rules-no-trailers", MissingFeature::Trailers, &[]).await;
}

#[tokio::test]
async fn the_rules_hold_without_checksums() {
    rules_hold("rules-without-checksums", MissingFeature::Checksums, &[]).await;
}

#[tokio::test]
async fn the_rules_hold_without_conditional_writes_and_trailers() {
    rules_hold(
        "rules-neither",
        MissingFeature::ConditionalWritesAndTrailers,
        &[],
    )
    .await;
}

#[tokio::test]
async fn the_rules_hold_where_all_must_be_encrypted() {
    let variables = [("S3_SERVER_SIDE_ENCRYPTION", "AES256")];
    rules_hold("rules-encrypted", MissingFeature::Unencrypted, &variables).await;
}

/// A store that loses a feature later is served without it by the very attempt that finds out.
#[tokio::test]
async fn uploads_continue_when_a_store_loses_a_feature() {
    let store = LimitedStore::start(options("store-changes"), None, &[]).await;
    store
        .proxy
        .set_missing_feature(Some(MissingFeature::ConditionalWritesAndTrailers));
    for query in ["bytes=9000000", "bytes=20000000", "bytes=1000"] {
        let context = &store.context;
        let url = context.source.url("changed", query);
        let job = context.api.ended(&context.accept(&url).await).await;
        assert_eq!(job.status, JobStatus::Completed, "{query}: {job:#?}");
        assert_eq!(job.media[0].attempts, Some(1), "{query}");
        context.check_bytes(&job.media[0]).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_bought_for_a_store_that_cannot_be_written_to() {
    let options = options("store-unwritable");
    let store = LimitedStore::start(options, None, &[]).await;
    let LimitedStore { context, proxy, .. } = &store;
    let provider = context.stack.provider.as_ref();

    // The store refuses all writes while outputs are under way: they wait, and nothing more is
    // bought.
    let url = context.source.url("under-way", "bytes=9000000&wait=3");
    let under_way = context.accept(&url).await;
    until("a prediction", async || bought(provider, &under_way).pop()).await;
    proxy.set_missing_feature(Some(MissingFeature::Writes));
    store.until_not_ready("AccessDenied (403)").await;
    let waits = context
        .accept(&context.source.url("waits", "bytes=1000"))
        .await;
    // A worker that starts now finds out before it buys.
    let restarted = context.stack.spawn("worker").unwrap();
    store.until_not_ready("AccessDenied (403)").await;
    assert!(bought(provider, &waits).is_empty());
    drop(restarted);

    proxy.set_missing_feature(None);
    for id in [&under_way, &waits] {
        let job = context.api.ended_within(id, DEADLINE * 2).await;
        assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
        assert_eq!(bought(provider, id).len(), 1);
    }
}

/// Manifests that cannot be written are retried after timers, which take no slot of the worker.
#[tokio::test]
async fn jobs_that_wait_for_the_store_do_not_hold_up_others() {
    let store = LimitedStore::start(options("store-waits"), None, &[]).await;
    let LimitedStore { context, proxy, .. } = &store;
    let (api, provider) = (&context.api, context.stack.provider.as_ref());
    let running = api.accepted(&endless()).await;
    let failing = job(1, json!({"fail": "as it should", "latency_ms": 30_000}));
    // More than the worker has slots for workflow tasks.
    let failing = join_all((0..6).map(|_| api.accepted(&failing))).await;
    for id in failing.iter().chain([&running]) {
        bought_one(provider, id).await;
    }
    proxy.set_missing_feature(Some(MissingFeature::Writes));
    for id in &failing {
        until("a job that waits for the store", async || {
            (api.get(id).await.stage == Some(Stage::Finalizing)).then_some(())
        })
        .await;
    }
    assert!(api.act(&running, "cancel").await.status().is_success());
    until("a prediction that is canceled", async || {
        let prediction = bought(provider, &running).pop()?;
        (prediction.status(Timestamp::now()) == PredictionStatus::Canceled).then_some(())
    })
    .await;

    proxy.set_missing_feature(None);
    for id in &failing {
        let job = api.ended_within(id, DEADLINE * 2).await;
        assert_eq!(job.status, JobStatus::Failed, "{job:#?}");
    }
}

#[tokio::test]
async fn a_worker_without_the_required_encryption_is_not_ready() {
    let store = LimitedStore::start(options("store-unencrypted"), None, &[]).await;
    store
        .proxy
        .set_missing_feature(Some(MissingFeature::Unencrypted));
    let _restarted = store.context.stack.spawn("worker").unwrap();
    store.until_not_ready("encryption").await;
}
