//! Bad sources and bad stores, as real jobs. Each outcome has the type and the retries that the
//! tables say, and in the end the store holds the expected objects, complete, and nothing else.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use aws_sdk_s3::primitives::ByteStream;
use darkroom_client::types::{
    failure::FailureType::{
        self, SourceExpired, SourceForbidden, SourceRejected, SourceTooLarge, SourceUnavailable,
        StorageConflict, StorageRejected, StorageUnavailable, UnsupportedMedia,
    },
    job_id::JobId,
    status::JobStatus,
};
use darkroom_dev::versitygw::VersityGateway;
use darkroom_workflows::MediaGeneration;
use futures::future::join_all;
use temporalio_client::WorkflowDescribeOptions;

use crate::support::{
    harness::{failure_type, options, until},
    proxy::{Fault, Operation, Proxy},
    source,
    world::{Place, World},
};

const MIB: usize = 1024 * 1024;

/// Length of the longest output that this worker accepts, in bytes.
const LONGEST: usize = 160 * MIB;
/// Length of the longest output that it uploads in one request, in bytes.
const STREAM_MAX: usize = 32 * MIB;

/// Expected end of a case.
#[derive(Clone, Copy, Debug)]
enum Ends {
    /// Stored, by this attempt.
    Stored(u32),
    /// Failed for good, with this type.
    Failed(FailureType),
    /// Retried without end, for this reason.
    Retried(FailureType),
}
use Ends::{Failed, Retried, Stored};

/// A case of a bad source: its name, the query of its URL, its expected end.
type Source = (&'static str, &'static str, Ends);

const SOURCES: [Source; 60] = [
    ("small", "bytes=1000", Stored(1)),
    ("small-unsized", "bytes=1000&framing=chunked", Stored(1)),
    ("small-until-close", "bytes=1000&framing=close", Stored(1)),
    ("a-buffer", "bytes=8388608", Stored(1)),
    (
        "a-buffer-unsized",
        "bytes=8388608&framing=chunked",
        Stored(1),
    ),
    ("streamed", "bytes=9000000", Stored(1)),
    ("streamed-to-the-limit", "bytes=33554432", Stored(1)),
    ("in-parts", "bytes=70000000&ranges=true", Stored(1)),
    (
        "in-parts-unsized",
        "bytes=20000000&framing=chunked",
        Stored(1),
    ),
    (
        "in-parts-until-close",
        "bytes=16777216&framing=close",
        Stored(1),
    ),
    ("empty", "bytes=0", Failed(UnsupportedMedia)),
    (
        "empty-unsized",
        "bytes=0&framing=chunked",
        Failed(UnsupportedMedia),
    ),
    ("bad-request", "status=400", Failed(SourceRejected)),
    ("unauthorized", "status=401", Failed(SourceRejected)),
    ("forbidden", "status=403", Failed(SourceRejected)),
    ("not-found", "status=404", Failed(SourceExpired)),
    ("gone", "status=410", Failed(SourceExpired)),
    ("teapot", "status=418", Failed(SourceRejected)),
    ("no-content", "status=204", Failed(SourceRejected)),
    ("timed-out-once", "status=408&times=1", Stored(2)),
    (
        "limited-once",
        "status=429&retry_after=1&times=1",
        Stored(2),
    ),
    ("broken-once", "status=500&times=1", Stored(2)),
    ("bad-gateway-once", "status=502&times=1", Stored(2)),
    ("broken-for-ever", "status=503", Retried(SourceUnavailable)),
    (
        "limited-for-ever",
        "status=429&retry_after=2",
        Retried(SourceUnavailable),
    ),
    (
        "redirected",
        "status=302&times=1&location=redirected%3Fbytes=5000",
        Stored(1),
    ),
    (
        "redirected-in-circles",
        "status=307&location=redirected-in-circles%3Fstatus=307",
        Failed(SourceRejected),
    ),
    ("redirected-nowhere", "status=301", Failed(SourceRejected)),
    (
        "redirected-inside",
        "status=302&location=http%3A%2F%2F127.0.0.1%3A22%2F",
        Failed(SourceForbidden),
    ),
    (
        "redirected-to-metadata",
        "status=302&location=http%3A%2F%2F169.254.169.254%2F",
        Failed(SourceForbidden),
    ),
    (
        "redirected-to-data",
        "status=302&location=data%3A%2Cabc",
        Failed(SourceForbidden),
    ),
    (
        "redirected-to-a-file",
        "status=302&location=file%3A%2F%2F%2Fetc%2Fpasswd",
        Failed(SourceForbidden),
    ),
    ("cut-once", "bytes=1000000&cut=400000&times=1", Stored(2)),
    (
        "cut-once-and-resumed",
        "bytes=1000000&cut=400000&times=1&ranges=true",
        Stored(1),
    ),
    (
        "cut-once-and-changed",
        "bytes=1000000&cut=400000&times=1&ranges=true&changes=true",
        Stored(2),
    ),
    (
        "cut-once-and-resumed-elsewhere",
        "bytes=1000000&cut=400000&times=1&ranges=true&wrong_range=true",
        Stored(2),
    ),
    (
        "cut-once-in-parts",
        "bytes=20000000&cut=12000000&times=1&framing=chunked",
        Stored(2),
    ),
    (
        "cut-for-ever",
        "bytes=1000000&cut=400000",
        Retried(SourceUnavailable),
    ),
    (
        "announced-too-much",
        "bytes=1000000&overstate=1",
        Retried(SourceUnavailable),
    ),
    (
        "stalled-once",
        "bytes=1000000&stall=400000&times=1",
        Stored(2),
    ),
    ("slow-but-steady", "bytes=1000000&rate=50000", Stored(1)),
    (
        "trickling",
        "bytes=1000000&rate=2000",
        Retried(SourceUnavailable),
    ),
    ("too-long", "bytes=200000000", Failed(SourceTooLarge)),
    (
        "too-long-unsized",
        "bytes=200000000&framing=chunked",
        Failed(SourceTooLarge),
    ),
    (
        "of-another-type",
        "bytes=1000&content_type=text/html",
        Stored(1),
    ),
    ("there-later", "bytes=1000&status=404&times=3", Stored(1)),
    (
        "let-in-later",
        "bytes=9000000&status=403&times=2",
        Stored(1),
    ),
    (
        "a-page-first.png",
        "bytes=1000&page=%3Chtml%3E%3C%2Fhtml%3E&times=2",
        Stored(1),
    ),
    (
        "a-page-for-ever.png",
        "page=%3Chtml%3E%3C%2Fhtml%3E",
        Failed(UnsupportedMedia),
    ),
    ("a-page-as-told", "page=%3Chtml%3E%3C%2Fhtml%3E", Stored(1)),
    ("begins-late", "bytes=1000&wait=20", Stored(1)),
    (
        "limited-until-a-date",
        "status=429&retry_date=2&times=1",
        Stored(2),
    ),
    (
        "redirected-in-utf-8",
        "status=302&times=1&location=gro%C3%9F%3Fbytes=5000",
        Stored(1),
    ),
    (
        "cut-at-the-end-of-the-connection",
        "bytes=1000000&framing=close&cut=400000&times=1",
        Stored(2),
    ),
    (
        "signed-with-quotes",
        "bytes=1000&verbatim='a'|(b)~",
        Stored(1),
    ),
    (
        "redirected-with-quotes",
        "status=302&times=1&location=%2Fredirected-with-quotes%3Fbytes=5000%26verbatim='b'",
        Stored(1),
    ),
    ("in-utf-8", "bytes=1000&encoding=UTF-8", Stored(1)),
    (
        "in-aws-chunked",
        "bytes=9000000&encoding=aws-chunked",
        Stored(1),
    ),
    (
        "in-brotli",
        "bytes=1000&encoding=br",
        Failed(UnsupportedMedia),
    ),
    (
        "in-broken-gzip",
        "bytes=1000&encoding=gzip",
        Retried(SourceUnavailable),
    ),
];

/// A case of a bad store: its name, the query of the source's URL, the operation that fails, the
/// fault, the number of times that it is injected, and the expected end.
type Store = (&'static str, &'static str, Operation, Fault, u32, Ends);

const SMALL: &str = "bytes=1000";
const STREAMED: &str = "bytes=9000000";
const PARTS: &str = "bytes=20000000&framing=chunked";
const LARGE: &str = "bytes=70000000&ranges=true";
const TWO_PARTS: &str = "bytes=140000000&ranges=true";

const STORES: [Store; 30] = [
    (
        "busy",
        SMALL,
        Operation::PutObject,
        Fault::Refuse(503, "SlowDown"),
        1,
        Stored(1),
    ),
    (
        "broken",
        SMALL,
        Operation::PutObject,
        Fault::Refuse(500, "InternalError"),
        3,
        Stored(2),
    ),
    (
        "denied",
        SMALL,
        Operation::PutObject,
        Fault::Refuse(403, "AccessDenied"),
        1,
        Stored(2),
    ),
    (
        "denied-for-ever",
        SMALL,
        Operation::PutObject,
        Fault::Refuse(403, "AccessDenied"),
        1000,
        Retried(StorageRejected),
    ),
    (
        "away",
        SMALL,
        Operation::PutObject,
        Fault::Refuse(503, "SlowDown"),
        1000,
        Retried(StorageUnavailable),
    ),
    (
        "dropped",
        SMALL,
        Operation::PutObject,
        Fault::Drop,
        1,
        Stored(1),
    ),
    (
        "answer-lost",
        SMALL,
        Operation::PutObject,
        Fault::LoseAnswer,
        1,
        Stored(1),
    ),
    (
        "pretended",
        SMALL,
        Operation::PutObject,
        Fault::Pretend,
        1,
        Stored(2),
    ),
    (
        "corrupted",
        SMALL,
        Operation::PutObject,
        Fault::Corrupt,
        1,
        Stored(2),
    ),
    (
        "slow",
        SMALL,
        Operation::PutObject,
        Fault::Delay(Duration::from_secs(2)),
        1,
        Stored(1),
    ),
    (
        "streamed-head-broken",
        STREAMED,
        Operation::HeadObject,
        Fault::Refuse(500, "InternalError"),
        3,
        Stored(2),
    ),
    (
        "streamed-head-shows-another",
        STREAMED,
        Operation::HeadObject,
        Fault::Pretend,
        1,
        Stored(2),
    ),
    (
        "streamed-busy",
        STREAMED,
        Operation::PutObject,
        Fault::Refuse(503, "SlowDown"),
        1,
        Stored(2),
    ),
    (
        "streamed-dropped",
        STREAMED,
        Operation::PutObject,
        Fault::Drop,
        1,
        Stored(2),
    ),
    (
        "streamed-cut",
        STREAMED,
        Operation::PutObject,
        Fault::Cut(3_000_000),
        1,
        Stored(2),
    ),
    (
        "streamed-answer-lost",
        STREAMED,
        Operation::PutObject,
        Fault::LoseAnswer,
        1,
        Stored(1),
    ),
    (
        "streamed-pretended",
        STREAMED,
        Operation::PutObject,
        Fault::Pretend,
        1,
        Stored(2),
    ),
    (
        "streamed-corrupted",
        STREAMED,
        Operation::PutObject,
        Fault::Corrupt,
        1,
        Stored(2),
    ),
    (
        "create-busy",
        PARTS,
        Operation::CreateUpload,
        Fault::Refuse(503, "SlowDown"),
        1,
        Stored(1),
    ),
    (
        "part-broken",
        PARTS,
        Operation::UploadPart,
        Fault::Refuse(500, "InternalError"),
        1,
        Stored(1),
    ),
    (
        "part-dropped",
        PARTS,
        Operation::UploadPart,
        Fault::Drop,
        1,
        Stored(1),
    ),
    (
        "part-cut",
        PARTS,
        Operation::UploadPart,
        Fault::Cut(100_000),
        1,
        Stored(1),
    ),
    (
        "part-corrupted",
        PARTS,
        Operation::UploadPart,
        Fault::Corrupt,
        1,
        Stored(2),
    ),
    (
        "complete-error-within",
        PARTS,
        Operation::CompleteUpload,
        Fault::ErrorWithin,
        1,
        Stored(1),
    ),
    (
        "complete-answer-lost",
        PARTS,
        Operation::CompleteUpload,
        Fault::LoseAnswer,
        1,
        Stored(1),
    ),
    (
        "complete-broken",
        PARTS,
        Operation::CompleteUpload,
        Fault::Refuse(500, "InternalError"),
        3,
        Stored(2),
    ),
    (
        "large-part-cut",
        TWO_PARTS,
        Operation::UploadPart,
        Fault::Cut(30_000_000),
        1,
        Stored(2),
    ),
    (
        "large-complete-broken",
        LARGE,
        Operation::CompleteUpload,
        Fault::Refuse(500, "InternalError"),
        3,
        Stored(2),
    ),
    (
        "large-corrupted",
        LARGE,
        Operation::UploadPart,
        Fault::Corrupt,
        1,
        Stored(2),
    ),
    (
        "not-aborted",
        "bytes=200000000&framing=chunked",
        Operation::AbortUpload,
        Fault::Refuse(500, "InternalError"),
        3,
        Failed(SourceTooLarge),
    ),
];

fn expect<T: Copy + Debug + PartialEq>(name: &str, actual: T, expected: T) -> Result<(), String> {
    if actual == expected {
        Ok(())
    } else {
        Err(format!("{name}: {actual:?} instead of {expected:?}"))
    }
}

impl World {
    /// Waits for the end of a case. Cancels a job that is retried without end.
    ///
    /// # Errors
    /// If it does not end as expected.
    async fn check(&self, name: &str, id: &JobId, ends: Ends) -> Result<(), String> {
        if let Retried(error) = ends {
            self.until_retried(id, error).await;
            assert!(self.api.act(id, "cancel").await.status().is_success());
            let job = self.api.ended(id).await;
            return expect(name, job.status, JobStatus::Canceled);
        }
        let job = self.api.ended_within(id, Duration::from_mins(2)).await;
        let Some(media) = job.media.first() else {
            return Err(format!("{name}: no outputs: {job:#?}"));
        };
        match ends {
            Stored(attempt) => {
                expect(name, job.status, JobStatus::Completed)
                    .map_err(|error| format!("{error} {job:#?}"))?;
                expect(name, media.attempts, Some(attempt))?;
                self.check_bytes(media).await
            }
            Failed(error) => expect(name, failure_type(media.error.as_ref()), Some(error)),
            Retried(_) => unreachable!(),
        }
    }

    /// Waits until an activity of a job is retried, and asserts the type of its last failure.
    async fn until_retried(&self, id: &JobId, error: FailureType) {
        let client = self.stack.temporal.client().await.unwrap();
        let handle = client.get_workflow_handle::<MediaGeneration>(id.to_string());
        until(&format!("retry of {id} for {error}"), async || {
            let description = handle
                .describe(WorkflowDescribeOptions::default())
                .await
                .unwrap();
            let pending = description.raw().pending_activities.clone();
            let failure = pending
                .iter()
                .find(|activity| activity.attempt >= 2)?
                .last_failure
                .clone()?;
            let info = failure.failure_info?;
            let said = format!("{info:?}");
            assert!(
                said.contains(&error.to_string()),
                "{id}: {said} {}",
                failure.message
            );
            Some(())
        })
        .await;
    }
}

/// A picture as some providers write it into a `data:` URL, without percent-encoding.
const SVG: &str = "<svg xmlns='http://www.w3.org/2000/svg'>\n<path fill='#f00'/></svg>";

/// Starts the cases that take more than a query of the source host, and returns their jobs.
async fn odd_cases(world: &World) -> BTreeMap<&'static str, (JobId, Ends)> {
    let mut cases = BTreeMap::new();
    let gzip = "1f8b08000000000002ff4b54484e2c28c9cccfd35148cecf2d284a2d2e4e4d010085a8c0fd15000000";
    for (name, encoding) in [("in-gzip", "gzip"), ("in-x-gzip", "X-GZip")] {
        let manner = format!("bytes={}&head={gzip}&encoding={encoding}", gzip.len() / 2);
        let url = world.source.url(name, &manner);
        cases.insert(name, (world.accept(&url).await, Stored(1)));
    }
    let inline = format!("data:image/svg+xml,{SVG}");
    cases.insert("raw-svg", (world.accept(&inline).await, Stored(1)));
    cases.insert(
        "another-port",
        (
            world.accept("http://127.0.0.1:1/").await,
            Failed(SourceForbidden),
        ),
    );
    cases.insert(
        "metadata",
        (
            world.accept("http://169.254.169.254/latest").await,
            Failed(SourceForbidden),
        ),
    );
    cases.insert(
        "user-info",
        (
            world.accept("http://user@example.com/").await,
            Failed(SourceForbidden),
        ),
    );
    cases.insert(
        "no-such-name",
        (
            world.accept("http://nowhere.invalid/").await,
            Retried(SourceUnavailable),
        ),
    );
    let taken = world.accept(&world.source.url("taken", STREAMED)).await;
    let taken_by_the_same = world
        .accept(&world.source.url("taken-by-the-same", STREAMED))
        .await;
    for (id, bytes) in [
        (&taken, vec![7; 9_000_000]),
        (&taken_by_the_same, source::file(9_000_000)),
    ] {
        let key = format!("jobs/{id}/0.png");
        let put = world
            .store
            .put_object()
            .bucket(&world.bucket)
            .key(key)
            .content_type("image/png");
        put.body(ByteStream::from(bytes)).send().await.unwrap();
    }
    cases.insert("taken", (taken, Failed(StorageConflict)));
    cases.insert("taken-by-the-same", (taken_by_the_same, Stored(1)));
    cases
}

#[tokio::test]
async fn bad_sources_and_bad_stores_do_no_harm() {
    let longest = LONGEST.to_string();
    let stream_max = STREAM_MAX.to_string();
    let variables = [
        ("PERSIST_CONCURRENCY", "100"),
        ("PERSIST_MEMORY", "400MiB"),
        ("PERSIST_STREAM_MAX", stream_max.as_str()),
        ("MAX_OUTPUT_BYTES", longest.as_str()),
    ];
    let options = options("bad-sources");
    let gateway = VersityGateway::start(&options, &|_: &str| {})
        .await
        .unwrap();
    let proxy = Proxy::start(&gateway.endpoint).await;
    let world = World::start(
        options,
        &variables,
        Some(Place::on_loopback(&proxy.endpoint, &gateway.endpoint)),
    )
    .await;
    let mut cases = BTreeMap::new();
    for (name, manner, ends) in SOURCES {
        cases.insert(
            name,
            (world.accept(&world.source.url(name, manner)).await, ends),
        );
    }
    for (name, manner, operation, fault, times, ends) in STORES {
        let id = world.accept(&world.source.url(name, manner)).await;
        if manner == TWO_PARTS {
            proxy.plan(
                &format!("{id}/0"),
                operation,
                Fault::Delay(Duration::ZERO),
                1,
            );
        }
        // Faults apply to the output only, not to the manifest.
        proxy.plan(&format!("{id}/0"), operation, fault, times);
        cases.insert(name, (id, ends));
    }
    cases.extend(odd_cases(&world).await);

    let checks = cases
        .iter()
        .map(async |(name, (id, ends))| world.check(name, id, *ends).await.err());
    let wrong: Vec<String> = join_all(checks).await.into_iter().flatten().collect();
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );

    for (name, (id, _)) in cases
        .iter()
        .filter(|(_, (_, ends))| !matches!(ends, Retried(_)))
    {
        assert_eq!(
            proxy.left(&format!("{id}/0")),
            0,
            "{name}: a planned fault did not happen"
        );
    }
    assert_eq!(world.source.requests("cut-once-and-resumed"), 2);
    for (name, size) in [
        ("cut-at-the-end-of-the-connection", 1_000_000),
        ("raw-svg", SVG.len()),
        ("in-x-gzip", 21),
    ] {
        let job = world.api.get(&cases[name].0).await;
        assert_eq!(job.media[0].size, Some(size as u64), "{name}");
    }
    // The first part was stored when the second one broke off, after 30 MB at least. The whole file
    // and what the second part had got to is 213 MB at most. Once more from the beginning would be
    // 237 MB at least.
    let fetched = world.source.bytes_sent("large-part-cut");
    assert!(
        (170_000_000..220_000_000).contains(&fetched),
        "{fetched} bytes were fetched"
    );
    for name in [
        "answer-lost",
        "streamed-head-broken",
        "streamed-head-shows-another",
        "complete-broken",
        "large-complete-broken",
    ] {
        assert_eq!(
            world.source.requests(name),
            1,
            "{name}: what was stored was fetched again"
        );
    }

    world.sweep().await;
    assert_eq!(world.uploads().await, 0);
    let mut stored: Vec<_> = cases
        .values()
        .filter(|(_, ends)| matches!(ends, Stored(_)))
        .map(|(id, _)| id)
        .collect();
    stored.push(&cases["taken"].0);
    for key in world.objects().await {
        let is_manifest = key.ends_with("/job.json");
        let is_stored = stored.iter().any(|id| key.contains(&id.to_string()));
        assert!(is_manifest || is_stored, "{key} should not be there");
    }
}
