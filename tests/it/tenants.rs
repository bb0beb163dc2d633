//! Fairness: no tenant waits for another, whatever jobs the other one has under way.
//! `DARKROOM_NEIGHBOURS` sets how many jobs of each kind the other one has.

use std::time::{Duration, Instant};

use darkroom_client::types::status::{JobStatus, Stage};
use darkroom_dev::Stack;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{
    api::Api,
    harness::{
        api_key_entry, assert_prompt, job, options_with, report, setting, start, until_within,
    },
    source::SourceServer,
};

/// Default number of slots for outputs in a worker.
const OUTPUT_SLOTS: u32 = 32;

const JOB_TIMEOUT: Duration = Duration::from_mins(3);

struct Tenants {
    stack: Stack,
    a: Api,
    b: Api,
    source: SourceServer,
}

impl Tenants {
    async fn start(name: &str, creates_per_minute: u32) -> Self {
        let source = SourceServer::start().await.unwrap();
        let keys = [api_key_entry("a", "key-a"), api_key_entry("b", "key-b")].join(",");
        let creates_per_minute = creates_per_minute.to_string();
        let allow = source.address.to_string();
        let variables = [
            ("DARKROOM_API_KEYS", keys.as_str()),
            ("DARKROOM_REQUESTS_PER_SECOND", "1000"),
            ("REPLICATE_CREATES_PER_MINUTE", creates_per_minute.as_str()),
            ("SOURCE_ALLOW", allow.as_str()),
        ];
        let stack = start(&options_with(name, &variables)).await;
        Self {
            a: Api::with_key(stack.api_url(), "key-a"),
            b: Api::with_key(stack.api_url(), "key-b"),
            stack,
            source,
        }
    }

    /// Median duration of three small jobs of tenant B, run one after the other.
    async fn small_jobs_of_b(&self) -> Duration {
        let mut took = Vec::new();
        let urls: Vec<_> = (0..2)
            .map(|output| self.source.url(&format!("small-{output}"), ""))
            .collect();
        for _ in 0..3 {
            let began = Instant::now();
            let ended = self.b.run(&job(2, json!({"urls": urls}))).await;
            assert_eq!(ended.status, JobStatus::Completed, "{ended:#?}");
            took.push(began.elapsed());
        }
        took.sort();
        took[1]
    }
}

/// Starts a server that accepts connections and never answers, and returns its address.
async fn tarpit() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await.unwrap());
        }
    });
    address
}

#[tokio::test]
async fn a_small_job_does_not_wait_for_the_jobs_of_another_tenant() {
    const OUTPUTS_OF_ONE: u32 = 16;
    let jobs: u32 = setting("DARKROOM_NEIGHBOURS", 40);
    let tarpit = tarpit().await;
    let tenants = Tenants::start("tenants", 600).await;
    let Tenants { a, source, .. } = &tenants;
    let alone = tenants.small_jobs_of_b().await;

    let with_webhook = async |_| {
        let mut request = job(1, json!({}));
        request["webhook_url"] = format!("http://{tarpit}/hook").into();
        a.run(&request).await
    };
    join_all((0..jobs.min(100)).map(with_webhook)).await;
    let in_doubt = (0..jobs).map(async |_| {
        let lost = json!({"answer_status": 504, "answer_html": true});
        a.accepted(&job(1, lost)).await
    });
    let in_doubt = join_all(in_doubt).await;
    for id in &in_doubt {
        until_within("a submission in doubt", JOB_TIMEOUT, async || {
            (a.get(id).await.stage == Some(Stage::Reconciling)).then_some(())
        })
        .await;
    }
    let slow = (0..3 * OUTPUT_SLOTS / OUTPUTS_OF_ONE).map(async |batch| {
        // Half of them have no `Content-Length`.
        let framing = ["", "&framing=chunked"][batch as usize % 2];
        let urls = (0..OUTPUTS_OF_ONE).map(|output| {
            let name = format!("slow-{batch}-{output}");
            source.url(&name, &format!("bytes=20000000&rate=81920{framing}"))
        });
        let urls: Vec<String> = urls.collect();
        a.accepted(&job(OUTPUTS_OF_ONE, json!({"urls": urls})))
            .await
    });
    let slow = join_all(slow).await;
    let queued = (0..jobs).map(async |_| a.accepted(&job(1, json!({}))).await);
    join_all(queued).await;

    let at_first = tenants.small_jobs_of_b().await;
    until_within("outputs under way", JOB_TIMEOUT, async || {
        (a.get(&slow[0]).await.stage == Some(Stage::Persisting)).then_some(())
    })
    .await;
    let beside = tenants.small_jobs_of_b().await;
    report(&format!(
        "alone {alone:?}, beside {at_first:?} at first and {beside:?} later"
    ));
    for beside in [at_first, beside] {
        assert_prompt(
            "a small job beside another tenant",
            beside,
            3 * alone + Duration::from_secs(1),
        );
    }
    for id in &slow {
        let job = a.get(id).await;
        assert_eq!(job.status, JobStatus::Processing, "{job:#?}");
    }
}

/// One tenant has a long queue at the provider; another has one small job.
#[tokio::test]
async fn a_tenant_does_not_wait_for_the_queue_of_another() {
    const QUEUED: u32 = 60;
    let Tenants {
        stack,
        a,
        b,
        source,
    } = Tenants::start("fairness", 120).await;
    let urls = [source.url("small-0", ""), source.url("small-1", "")];
    let small = || job(2, json!({"urls": urls}));
    let timed = async |api: &Api, body: &Value| {
        let began = Instant::now();
        let ended = api.run(body).await;
        assert_eq!(ended.status, JobStatus::Completed, "{ended:#?}");
        began.elapsed()
    };
    let alone = timed(&b, &small()).await;
    let queued = join_all((0..QUEUED).map(async |_| a.accepted(&small()).await)).await;
    let beside = timed(&b, &small()).await;
    report(&format!(
        "alone {alone:?}, beside {QUEUED} queued {beside:?}"
    ));
    // A submission takes its turn every half second, and one of the other tenant's may come first.
    assert_prompt(
        "a job beside a queue",
        beside,
        3 * alone + Duration::from_secs(2),
    );
    let provider = stack.provider.as_ref().unwrap();
    assert!(
        provider.predictions().len() < queued.len() / 2,
        "the other tenant still waits"
    );
}
