//! Bad sources and bad stores, as jobs of one stack that run at the same time. Each job ends as its
//! case says, and in the end the store holds the expected objects, complete, and nothing else.
//!
//! - [`lengths`], [`statuses`], [`addresses`], [`interruptions`], [`content`]: cases of sources
//! - [`single_request_uploads`], [`multipart_uploads`]: cases of faults of the store
//! - [`existing_objects`]: cases of a key that is taken
//! - [`outcome`]: the expected end of a job, and its check
//!
//! The rules that hold in every store are in `uploads`; malformed requests and variables are in
//! `http::bad_requests` and `bad_input`.

mod addresses;
mod content;
mod existing_objects;
mod interruptions;
mod lengths;
mod multipart_uploads;
mod outcome;
mod single_request_uploads;
mod statuses;

use std::{collections::BTreeMap, time::Duration};

use darkroom_client::types::job_id::JobId;
use futures::future::join_all;

use self::outcome::Outcome::{self, Retried, Stored};
use crate::support::{
    context::{ProxiedContext, TestContext},
    harness::options,
    proxy::{Fault, Operation, Proxy},
};

/// Variables of the worker. An output is 160 MiB long at most, and one of more than 32 MiB is a
/// multipart upload.
const VARIABLES: [(&str, &str); 4] = [
    ("PERSIST_CONCURRENCY", "100"),
    ("PERSIST_MEMORY", "400MiB"),
    ("PERSIST_STREAM_MAX", "32MiB"),
    ("MAX_OUTPUT_BYTES", "160MiB"),
];

/// A case of a file on the source host.
#[derive(Clone, Copy)]
struct Source {
    /// Name of the case and of the file.
    name: &'static str,
    /// Query of the file's URL, which configures the answers of the source host.
    query: &'static str,
    expected: Outcome,
}

/// A case of a URL that does not lead to the source host.
struct Address {
    name: &'static str,
    url: &'static str,
    expected: Outcome,
}

/// A case of a fault of the store.
#[derive(Clone, Copy)]
struct StoreFault {
    /// Name of the case and of the file.
    name: &'static str,
    /// Query of the file's URL.
    query: &'static str,
    /// Operation that fails.
    operation: Operation,
    fault: Fault,
    /// Requests of the operation that fail.
    requests: FaultyRequests,
    expected: Outcome,
}

/// Requests to which a fault applies.
#[derive(Clone, Copy)]
enum FaultyRequests {
    /// The first ones, this many.
    First(u32),
    /// The second one only.
    Second,
    /// All of them.
    All,
}

/// Name of the stack, and of its directory.
const STACK: &str = "bad-sources";

/// The job of a case.
struct Case {
    id: JobId,
    expected: Outcome,
}

/// Cases by name.
type Cases = BTreeMap<&'static str, Case>;

#[tokio::test]
async fn bad_sources_and_bad_stores_do_no_harm() {
    let options = options(STACK);
    let ProxiedContext {
        gateway: _gateway,
        proxy,
        context,
    } = TestContext::behind_proxy(options, &VARIABLES, None).await;
    let mut cases = start_sources(&context).await;
    cases.extend(start_store_faults(&context, &proxy).await);
    cases.extend(start_addresses(&context).await);
    cases.extend(existing_objects::start(&context).await);

    let checks = cases.iter().map(|(name, case)| context.check(name, case));
    let mismatches: Vec<String> = join_all(checks)
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect();
    assert!(
        mismatches.is_empty(),
        "{} of {} cases:\n{}",
        mismatches.len(),
        cases.len(),
        mismatches.join("\n")
    );

    assert_faults_injected(&cases, &proxy);
    assert_sizes(&context, &cases).await;
    assert_fetched_once(&context);

    context.sweep().await;
    assert_eq!(context.uploads().await, 0);
    assert_only_expected_objects(&context, &cases).await;
}

/// Starts the jobs of all sources.
async fn start_sources(context: &TestContext) -> Cases {
    let sources = [
        lengths::SOURCES,
        statuses::SOURCES,
        addresses::SOURCES,
        interruptions::SOURCES,
        content::SOURCES,
    ];
    let mut cases = Cases::new();
    for source in sources.concat() {
        let id = context
            .accept(&context.source.url(source.name, source.query))
            .await;
        let expected = source.expected;
        cases.insert(source.name, Case { id, expected });
    }
    cases
}

/// Starts the jobs of all faults of the store, and plans the faults.
async fn start_store_faults(context: &TestContext, proxy: &Proxy) -> Cases {
    let faults = [single_request_uploads::FAULTS, multipart_uploads::FAULTS];
    let mut cases = Cases::new();
    for StoreFault {
        name,
        query,
        operation,
        fault,
        requests,
        expected,
    } in faults.concat()
    {
        let id = context.accept(&context.source.url(name, query)).await;
        // Faults apply to the output only, not to the manifest.
        let output = format!("{id}/0");
        match requests {
            FaultyRequests::First(count) => proxy.plan(&output, operation, fault, count),
            FaultyRequests::Second => {
                proxy.plan(&output, operation, Fault::Delay(Duration::ZERO), 1);
                proxy.plan(&output, operation, fault, 1);
            }
            FaultyRequests::All => proxy.plan(&output, operation, fault, u32::MAX),
        }
        cases.insert(name, Case { id, expected });
    }
    cases
}

/// Starts the jobs of all URLs that do not lead to the source host.
async fn start_addresses(context: &TestContext) -> Cases {
    let mut cases = Cases::new();
    for address in addresses::ADDRESSES {
        let id = context.accept(address.url).await;
        let expected = address.expected;
        cases.insert(address.name, Case { id, expected });
    }
    cases
}

/// Asserts that every planned fault was injected, except into jobs that were canceled.
fn assert_faults_injected(cases: &Cases, proxy: &Proxy) {
    for (name, case) in cases {
        if !matches!(case.expected, Retried(_)) {
            let left = proxy.left(&format!("{}/0", case.id));
            assert_eq!(left, 0, "{name}: a planned fault did not happen");
        }
    }
}

/// Asserts the sizes of outputs that could be stored in part, or in another form.
async fn assert_sizes(context: &TestContext, cases: &Cases) {
    for (name, size) in [
        ("cut-once-close-delimited", 1_000_000),
        ("svg-data-url", 66),
        ("encoding-x-gzip", 21),
    ] {
        let job = context.api.get(&cases[name].id).await;
        assert_eq!(job.media[0].size, Some(size), "{name}");
    }
}

/// Asserts that what was fetched or stored once is not fetched again.
fn assert_fetched_once(context: &TestContext) {
    assert_eq!(context.source.requests("cut-once-then-resumed"), 2);
    // The first part was stored when the second one broke off, after 30 MB at least. The whole file
    // and what the second part had got to is 213 MB at most. Once more from the beginning would be
    // 237 MB at least.
    let fetched = context.source.bytes_sent("second-large-part-cut");
    assert!(
        (170_000_000..220_000_000).contains(&fetched),
        "{fetched} bytes were fetched"
    );
    for name in [
        "put-response-lost",
        "streamed-head-internal-error",
        "streamed-head-shows-other-object",
        "complete-internal-error",
        "large-complete-internal-error",
    ] {
        assert_eq!(
            context.source.requests(name),
            1,
            "{name}: what was stored was fetched again"
        );
    }
}

/// Asserts that the store holds no objects but manifests, stored outputs, and the object that was
/// there before.
async fn assert_only_expected_objects(context: &TestContext, cases: &Cases) {
    let mut expected: Vec<_> = cases
        .values()
        .filter(|case| matches!(case.expected, Stored { .. }))
        .map(|case| case.id)
        .collect();
    expected.push(cases[existing_objects::DIFFERENT].id);
    for key in context.objects().await {
        let is_manifest = key.ends_with("/job.json");
        let is_expected = expected.iter().any(|id| key.contains(&id.to_string()));
        assert!(is_manifest || is_expected, "{key} should not be there");
    }
}
