//! The provider's limits are kept for all, and no tenant waits for another.

use std::time::{Duration, Instant};

use darkroom::dev::{Options, provider::limits::Limits};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::{
    faults::report,
    harness::{Api, job, options, start, until},
    metrics::metrics_address,
};

const PATIENCE: Duration = Duration::from_mins(3);

/// `tenant:sha256hex` of a key.
fn key(tenant: &str, key: &str) -> String {
    use sha2::{Digest, Sha256};
    format!("{tenant}:{}", hex::encode(Sha256::digest(key)))
}

/// Two workers, and as many jobs at once as the provider takes in ten seconds.
#[tokio::test]
async fn many_jobs_at_once_are_bought_at_the_pace_that_the_provider_allows() {
    const JOBS: u32 = 100;
    let options = Options {
        variables: vec![
            ("REPLICATE_CREATES_PER_MINUTE", "600".to_owned()),
            ("REPLICATE_READS_PER_MINUTE", "3000".to_owned()),
        ],
        ..options("limits")
    };
    let stack = start(&options).await;
    let other = stack.spawn("worker").unwrap();
    let api = Api::of(&stack);
    let provider = stack.provider.as_ref().unwrap();
    provider.limit(Limits {
        creates_per_minute: Some(600),
        reads_per_minute: Some(3000),
        ..Limits::default()
    });
    let began = Instant::now();
    let ids = join_all(
        (0..JOBS).map(async |_| api.accepted(&job(1, json!({"latency_ms": 5_000}))).await),
    )
    .await;
    for job in join_all(ids.iter().map(|id| api.ended_within(id, PATIENCE))).await {
        assert_eq!(job["status"], "completed", "{job:#}");
    }
    let calls = provider.calls();
    report(&format!("{JOBS} jobs in {:?}: {calls:?}", began.elapsed()));
    assert_eq!(calls.creates, JOBS);
    assert!(calls.refused_creates * 20 <= JOBS, "{calls:?}");
    assert!(calls.refused_reads * 50 <= calls.reads, "{calls:?}");
    drop(other);
}

/// The account allows a twelfth of what was configured, one at a time, and refusals count.
#[tokio::test]
async fn an_account_that_allows_less_gets_its_own_pace() {
    const JOBS: usize = 4;
    let options = Options {
        variables: vec![("REPLICATE_CREATES_PER_MINUTE", "600".to_owned())],
        ..options("slow-account")
    };
    let stack = start(&options).await;
    let api = Api::of(&stack);
    let provider = stack.provider.as_ref().unwrap();
    provider.limit(Limits {
        creates_per_minute: Some(12),
        create_burst: Some(1),
        ..Limits::default()
    });
    let mut ids = Vec::new();
    for _ in 0..JOBS {
        ids.push(api.accepted(&job(1, json!({}))).await);
    }
    for job in join_all(ids.iter().map(|id| api.ended_within(id, PATIENCE))).await {
        assert_eq!(job["status"], "completed", "{job:#}");
    }
    let calls = provider.calls();
    report(&format!("{JOBS} jobs: {calls:?}"));
    assert_eq!(calls.creates as usize, JOBS);
    assert!(calls.refused_creates as usize <= 2 * JOBS, "{calls:?}");
}

/// A worker whose token is refused gives its jobs back and takes no more; the other one buys for all.
#[tokio::test]
async fn a_worker_that_the_provider_refuses_fails_no_job() {
    const JOBS: usize = 20;
    let options = Options {
        variables: vec![("METRICS_LISTEN", "127.0.0.1:0".to_owned())],
        ..options("refused")
    };
    let stack = start(&options).await;
    let bad = [("REPLICATE_API_TOKEN", "wrong".to_owned())];
    let refused = stack
        .spawn_worker("worker-refused", &options.binary, &bad)
        .unwrap();
    let api = Api::of(&stack);
    let log = options.directory.join("logs/worker-refused.log");
    until("a worker that is refused", async || {
        let log = std::fs::read_to_string(&log).ok()?;
        log.contains("nothing is bought until").then_some(())
    })
    .await;
    let run = async |_| api.run(&job(1, json!({}))).await;
    for job in join_all((0..JOBS).map(run)).await {
        assert_eq!(job["status"], "completed", "{job:#}");
    }
    let address = metrics_address(&options.directory, "worker-refused");
    let ready = api.http.get(format!("http://{address}/readyz"));
    assert_eq!(ready.send().await.unwrap().status(), 503);
    drop(refused);
}

/// One tenant has a long queue at the provider; another has one small job.
#[tokio::test]
async fn a_tenant_does_not_wait_for_the_queue_of_another() {
    const QUEUED: u32 = 60;
    let options = Options {
        variables: vec![
            ("REPLICATE_CREATES_PER_MINUTE", "120".to_owned()),
            (
                "DARKROOM_API_KEYS",
                [key("a", "key-a"), key("b", "key-b")].join(","),
            ),
        ],
        ..options("fairness")
    };
    let stack = start(&options).await;
    let (a, b) = (
        Api::with_key(stack.api_url(), "key-a"),
        Api::with_key(stack.api_url(), "key-b"),
    );
    let small = || job(2, json!({}));
    let timed = async |api: &Api, body: &Value| {
        let began = Instant::now();
        let ended = api.run(body).await;
        assert_eq!(ended["status"], "completed", "{ended:#}");
        began.elapsed()
    };
    let alone = timed(&b, &small()).await;
    let queued = join_all((0..QUEUED).map(async |_| a.accepted(&small()).await)).await;
    let beside = timed(&b, &small()).await;
    report(&format!(
        "alone {alone:?}, beside {QUEUED} queued {beside:?}"
    ));
    // A submission every half second or so, and one of the other tenant's may be before.
    assert!(
        beside <= 3 * alone + Duration::from_secs(2),
        "{beside:?} beside, {alone:?} alone"
    );
    let provider = stack.provider.as_ref().unwrap();
    assert!(
        provider.predictions().len() < queued.len() / 2,
        "the other tenant still waits"
    );
}
