//! Uploads to S3: the rules that hold in every store, and uploads whose workers are killed.

use std::time::Duration;

use darkroom_client::types::{failure::FailureType, status::JobStatus};
use futures::{future::join_all, join};

use crate::{
    faults::{duration_below, rounds, seeded_rng},
    support::{
        context::{ExternalStore, TestContext},
        harness::{failure_type, options, report, until},
        missing_features::MissingFeature,
        processes::restart_worker,
        proxy::{Fault, Operation},
        source,
    },
};

/// Variable that sets the longest output uploaded in one request. Longer ones are multipart
/// uploads.
pub(crate) const STREAM_MAX: (&str, &str) = ("PERSIST_STREAM_MAX", "16MiB");

/// Timeout of a job that may wait for several heartbeat timeouts.
const JOB_TIMEOUT: Duration = Duration::from_mins(4);

#[tokio::test]
async fn the_rules_hold_in_the_embedded_store() {
    rules(&TestContext::start(options("rules-embedded"), &[STREAM_MAX], None).await).await;
}

#[tokio::test]
async fn the_rules_hold_in_a_versity_gateway() {
    let (context, _gateway) =
        TestContext::on_gateway(options("rules-versity"), &[STREAM_MAX]).await;
    rules(&context).await;
    context.sweep().await;
    assert_eq!(context.uploads().await, 0);
}

#[tokio::test]
async fn the_rules_hold_in_the_store_of_the_environment() {
    let Some(store) = ExternalStore::of_the_environment() else {
        return report("skipped: DARKROOM_TEST_BUCKET names no bucket");
    };
    rules(&TestContext::start(options("rules-environment"), &[STREAM_MAX], Some(store)).await)
        .await;
}

#[tokio::test]
async fn the_rules_hold_where_checksums_are_not_wanted() {
    const PREFIX: &str = "below/here/";
    let variables = [
        STREAM_MAX,
        ("S3_CHECKSUMS", "when_required"),
        ("S3_KEY_PREFIX", PREFIX),
    ];
    let options = options("rules-no-checksums");
    let (mut context, _gateway) = TestContext::on_gateway(options, &variables).await;
    context.prefix = PREFIX;
    for query in [
        "bytes=1000",
        "bytes=9000000",
        "bytes=20000000&ranges=true",
        "bytes=20000000&framing=chunked",
    ] {
        let job = context
            .api
            .ended(&context.accept(&context.source.url("file", query)).await)
            .await;
        assert_eq!(job.status, JobStatus::Completed, "{query}: {job:#?}");
        context.check_bytes(&job.media[0]).await.unwrap();
    }
    assert!(
        context
            .keys("")
            .await
            .iter()
            .all(|key| key.starts_with("below/here/jobs/") || key.starts_with("below/here/index/"))
    );
}

/// An object that is in the store before the output of a job is put under its key.
struct ExistingObject {
    bytes: Vec<u8>,
    /// Query for the output.
    query: &'static str,
    /// Failure of the output; `None` if the object is taken for it.
    error: Option<FailureType>,
}

/// Checks the rules that hold in every store.
pub(crate) async fn rules(context: &TestContext) {
    let url = |name: &str, query: &str| context.source.url(name, query);
    let stored = [
        "bytes=1",
        "bytes=9000000",
        "bytes=20000000",
        "bytes=20000000&framing=chunked",
    ];
    let stored = stored.map(|query| async move {
        let job = context
            .api
            .ended(&context.accept(&url("stored", query)).await)
            .await;
        assert_eq!(job.status, JobStatus::Completed, "{query}: {job:#?}");
        assert_eq!(job.media[0].attempts, Some(1), "{query}");
        context.check_bytes(&job.media[0]).await.unwrap();
        assert_eq!(job.media[0].bytes_done, job.media[0].size);
    });

    let same = |length, query| ExistingObject {
        bytes: source::file(length),
        query,
        error: None,
    };
    let other = |length, query| ExistingObject {
        bytes: vec![7; length],
        query,
        error: Some(FailureType::StorageConflict),
    };
    let existing = [
        same(1000, "bytes=1000"),
        same(9_000_000, "bytes=9000000"),
        other(1000, "bytes=1000"),
        other(9_000_000, "bytes=9000000"),
    ];
    let existing = existing.map(|object| async move {
        let ExistingObject {
            bytes,
            query,
            error,
        } = object;
        let id = context.accept(&url("existing", query)).await;
        context.put_object(&format!("jobs/{id}/0.png"), bytes).await;
        let job = context.api.ended(&id).await;
        let is_stored = job.status == JobStatus::Completed;
        assert_eq!(is_stored, error.is_none(), "{query}: {job:#?}");
        let found = failure_type(job.media[0].error.as_ref());
        assert_eq!(found, error, "{query}: {job:#?}");
    });
    // An object below the job's prefix that is no output of it is removed when the job ends.
    let stray = async {
        let id = context.accept(&url("stray", "bytes=1000")).await;
        let stray = format!("{}jobs/{id}/7.png", context.prefix);
        let bytes = b"of an attempt that was canceled".to_vec();
        context.put_object(&stray, bytes).await;
        assert_eq!(context.api.ended(&id).await.status, JobStatus::Completed);
        let mut left = context.objects().await;
        left.retain(|key| key.contains(&id.to_string()));
        assert_eq!(left.len(), 2, "{left:?}");
    };

    // An upload under way shows its progress, and leaves nothing after a cancellation.
    let canceled = [
        "bytes=60000000&rate=5000000",
        "bytes=60000000&rate=5000000&framing=chunked",
    ];
    let canceled = canceled.map(|query| async move {
        let id = context.accept(&url("canceled", query)).await;
        until("progress", async || {
            let done = context.api.get(&id).await.media.first()?.bytes_done?;
            (done > 0).then_some(())
        })
        .await;
        assert!(context.api.act(&id, "cancel").await.status().is_success());
        assert_eq!(context.api.ended(&id).await.status, JobStatus::Canceled);
        let mut left = context.objects().await;
        left.retain(|key| key.contains(&id.to_string()) && !key.ends_with("job.json"));
        assert!(left.is_empty(), "{left:?}");
    });
    join!(
        join_all(stored),
        join_all(existing),
        stray,
        join_all(canceled)
    );
}

/// Half of the uploads can be resumed from a checkpoint, half of them must begin again. Half of the
/// kills come at random moments, half of them once a part is stored and Temporal has its
/// checkpoint.
#[tokio::test]
async fn an_upload_whose_worker_is_killed_is_finished_by_the_next() {
    const LENGTH: u64 = 200_000_000;
    let options = options("uploads-killed");
    let (mut context, _gateway) = TestContext::on_gateway(options, &[STREAM_MAX]).await;
    let mut random = seeded_rng();
    let mut jobs = Vec::new();
    let mut interrupted = 0;
    for round in 0..rounds().div_ceil(4) {
        let mut ids = Vec::new();
        for (name, query) in [
            ("known", format!("bytes={LENGTH}&ranges=true&rate=20000000")),
            (
                "unsized",
                "bytes=40000000&framing=chunked&rate=4000000".to_owned(),
            ),
        ] {
            let name = format!("{name}-{round}");
            let id = context.accept(&context.source.url(&name, &query)).await;
            ids.push(id);
            jobs.push((id, name));
        }
        until("uploads under way", async || {
            (context.uploads_of(&ids).await == ids.len()).then_some(())
        })
        .await;
        if round % 2 == 0 {
            until("a part and some of the next", async || {
                let known = context.api.get(&ids[0]).await.media.first()?.bytes_done?;
                (known > 90_000_000).then_some(())
            })
            .await;
        } else {
            tokio::time::sleep(duration_below(&mut random, Duration::from_secs(6))).await;
        }
        interrupted += context.uploads_of(&ids).await;
        restart_worker(&mut context.stack);
    }
    for (id, name) in &jobs {
        let job = context.api.ended_within(id, JOB_TIMEOUT).await;
        assert_eq!(job.status, JobStatus::Completed, "{name}: {job:#?}");
        context.check_bytes(&job.media[0]).await.unwrap();
    }
    let media: Vec<_> = context
        .objects()
        .await
        .into_iter()
        .filter(|key| !key.ends_with("job.json"))
        .collect();
    assert_eq!(media.len(), jobs.len(), "{media:?}");
    let resumed = jobs.iter().filter(|(_, name)| {
        let (requests, sent) = (
            context.source.requests(name),
            context.source.bytes_sent(name),
        );
        // Every request from the beginning sends at least the bytes that were done before the kill.
        name.starts_with("known")
            && requests > 1
            && sent < LENGTH + u64::from(requests - 1) * 90_000_000
    });
    let (resumed, left) = (resumed.count(), context.uploads().await);
    report(&format!(
        "{} uploads, {interrupted} interrupted, {resumed} resumed, {left} left for the sweep",
        jobs.len()
    ));
    assert!(resumed > 0, "every upload began again");
    context.sweep().await;
    assert_eq!(context.uploads().await, 0);
}

/// The timeout of requests whose bodies are in memory is one minute. A body that is sent while it
/// arrives takes as long as its source: here one request, and one part of a multipart upload.
#[tokio::test]
async fn a_request_that_takes_more_than_a_minute_to_arrive_is_not_cut_off() {
    let context = TestContext::start(options("slow-requests"), &[STREAM_MAX], None).await;
    let slow = ["bytes=9000000&rate=130000", "bytes=17000000&rate=250000"];
    let id = context.api.accepted(&context.job_of(&slow)).await;
    let job = context.api.ended_within(&id, JOB_TIMEOUT).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    for media in &job.media {
        assert_eq!(media.attempts, Some(1), "{media:#?}");
        context.check_bytes(media).await.unwrap();
    }
}

/// Stores answer with a status at once, and with a body when they have assembled the parts.
#[tokio::test]
async fn a_completion_that_takes_long_is_awaited() {
    let variables = [STREAM_MAX];
    let proxied = TestContext::behind_proxy(options("slow-completion"), &variables, None).await;
    let (context, proxy) = (&proxied.context, &proxied.proxy);
    let late = Fault::LateBody(Duration::from_secs(12));
    proxy.plan("jobs/", Operation::CompleteUpload, late, 1);
    let query = "bytes=20000000&ranges=true";
    let id = context.accept(&context.source.url("file", query)).await;
    let job = context.api.ended(&id).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    context.check_bytes(&job.media[0]).await.unwrap();
    assert_eq!(proxy.completions(), 1);
}

/// The first attempt sends parts from memory, as the store takes no streamed trailers then, and the
/// second one could stream them. Some stores complete an upload only if its parts but the last are
/// of one size.
#[tokio::test]
async fn the_parts_of_a_resumed_upload_are_of_one_size() {
    const PART: usize = 8 * 1024 * 1024;
    let missing = Some(MissingFeature::Trailers);
    let mut proxied =
        TestContext::behind_proxy(options("part-sizes"), &[STREAM_MAX], missing).await;
    let (context, proxy) = (&mut proxied.context, &proxied.proxy);
    let query = "bytes=100000000&ranges=true&rate=10000000";
    let id = context.accept(&context.source.url("file", query)).await;
    until("recorded parts", async || {
        let done = context.api.get(&id).await.media.first()?.bytes_done?;
        (done >= 6 * PART as u64).then_some(())
    })
    .await;
    proxy.set_missing_feature(None);
    restart_worker(&mut context.stack);
    let job = context.api.ended_within(&id, JOB_TIMEOUT).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    context.check_bytes(&job.media[0]).await.unwrap();

    let mut parts = proxy.parts();
    let last = parts.pop().unwrap();
    assert!(last.is_streamed && last.size <= PART, "{last:?}");
    assert!(parts.iter().all(|part| part.size == PART), "{parts:?}");
    assert!(!parts[0].is_streamed, "{parts:?}");
    assert!(parts.len() < 16, "it was begun anew: {parts:?}");
}
