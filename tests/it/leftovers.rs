//! Jobs of all kinds while servers are killed, stopped or down: each job ends, and after a sweep
//! the store holds no object that no manifest names. `DARKROOM_FAULTS` sets the number of faults,
//! with 20 jobs each; the default is 6.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use darkroom_client::types::{
    failure::FailureType,
    resource::Job,
    status::{JobStatus, MediaStatus},
};
use darkroom_dev::{Options, versitygw::VersityGateway};
use futures::{StreamExt, stream};
use serde_json::Value;

use crate::{
    faults::{duration_below, predictions_by_job, seeded_rng},
    support::{
        context::TestContext,
        harness::{failure_type, options, report, setting},
        processes::{
            restart_worker, start_gateway, start_temporal, start_worker, terminate, until_exited,
        },
    },
};

const JOBS_A_ROUND: u64 = 20;

/// Number of jobs of which one is canceled.
const CANCELED: u64 = 25;

/// Timeout of a job, counted from the last fault.
const JOB_TIMEOUT: Duration = Duration::from_mins(5);

/// Fault of one server.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Fault {
    WorkerKilled,
    WorkerStopped,
    ApiKilled,
    TemporalKilled,
    StoreStopped,
}

const FAULTS: [Fault; 5] = [
    Fault::WorkerKilled,
    Fault::ApiKilled,
    Fault::StoreStopped,
    Fault::WorkerStopped,
    Fault::TemporalKilled,
];

struct Servers {
    context: TestContext,
    gateway: VersityGateway,
    options: Options,
}

impl Servers {
    /// Injects a fault and brings the server back; Temporal and the store are down for `outage`.
    async fn inject(&mut self, fault: Fault, outage: Duration) {
        let Self {
            context,
            gateway,
            options,
        } = self;
        let stack = &mut context.stack;
        match fault {
            Fault::WorkerKilled => restart_worker(stack),
            Fault::WorkerStopped => {
                terminate(&stack.worker);
                until_exited(&stack.worker).await;
                start_worker(stack);
            }
            Fault::ApiKilled => {
                stack.api.kill();
                stack.api = stack.spawn("api").unwrap();
            }
            Fault::TemporalKilled => {
                stack.temporal.kill();
                tokio::time::sleep(outage).await;
                stack.temporal = start_temporal(options).await;
            }
            Fault::StoreStopped => {
                gateway.stop();
                tokio::time::sleep(outage).await;
                *gateway = start_gateway(options).await;
            }
        }
    }
}

/// Request for a job, of a kind that depends on its number.
fn request(context: &TestContext, number: u64) -> Value {
    let queries: &[&str] = match number % 10 {
        0 => &["bytes=9000000&rate=3000000"],
        1 => &["bytes=12000000&framing=chunked", "bytes=1000"],
        2 => &["bytes=1000", "status=410"],
        3 => &["bytes=20000000&ranges=true&rate=6000000"],
        4 => &["bytes=500000&rate=200000", "bytes=1000", "bytes=1000"],
        5 => &["bytes=1000&cut=500&times=1", "bytes=1000"],
        _ => &["bytes=1000", "bytes=5000", "bytes=300000"],
    };
    let mut request = context.job_of(queries);
    request["input"]["dev"]["latency_ms"] = (number % 7 * 400).into();
    request["input"]["dev"]["webhooks"] = (number % 2).into();
    request
}

#[tokio::test]
async fn no_object_is_left_that_no_manifest_names() {
    let options = options("leftovers");
    // A submission whose worker was killed between its record and the call was never sent, but the
    // job cannot know that and is in doubt. It searches for 10 seconds.
    let variables = [
        ("SUBMISSION_SEARCH_SECONDS", "10"),
        ("DARKROOM_REQUESTS_PER_SECOND", "10000"),
        ("PERSIST_STREAM_MAX", "8MiB"),
    ];
    let (context, gateway) = TestContext::on_gateway(options.clone(), &variables).await;
    let mut servers = Servers {
        context,
        gateway,
        options,
    };
    let mut random = seeded_rng();
    let mut jobs = Vec::new();
    let mut faults = BTreeMap::<Fault, u32>::new();
    let rounds: u32 = setting("DARKROOM_FAULTS", 6);
    for (round, fault) in (0..rounds).zip(FAULTS.into_iter().cycle()) {
        let api = &servers.context.api;
        for _ in 0..JOBS_A_ROUND {
            let number = jobs.len() as u64;
            let body = request(&servers.context, number);
            jobs.push(
                api.accepted_despite_faults(&format!("job-{round}-{number}"), &body)
                    .await,
            );
            tokio::time::sleep(duration_below(&mut random, Duration::from_millis(80))).await;
            if number % CANCELED == CANCELED - 1 {
                let earlier = random.usize(..10);
                api.act(&jobs[jobs.len() - 1 - earlier], "cancel").await;
            }
        }
        tokio::time::sleep(duration_below(&mut random, Duration::from_secs(2))).await;
        *faults.entry(fault).or_default() += 1;
        let outage = duration_below(&mut random, Duration::from_secs(8));
        servers.inject(fault, outage).await;
    }
    let Servers { context, .. } = &servers;
    let ended = stream::iter(&jobs).map(|id| context.api.ended_despite_faults(id, JOB_TIMEOUT));
    let ended: Vec<Job> = ended.buffer_unordered(32).collect().await;

    let mut endings = BTreeMap::<String, u32>::new();
    let mut named = BTreeSet::new();
    for job in &ended {
        *endings.entry(job.status.to_string()).or_default() += 1;
        named.insert(job.job_id.manifest_key().to_string());
        for media in &job.media {
            if media.status == MediaStatus::Completed {
                named.insert(media.s3_key.as_ref().unwrap().to_string());
                context.check_bytes(media).await.unwrap();
            }
        }
        let failed = job.status == JobStatus::Failed;
        let is_unknown = failure_type(job.error.as_ref()) == Some(FailureType::SubmissionUnknown);
        assert!(!failed || is_unknown, "{job:#?}");
    }
    let strays = async || {
        let mut objects = context.objects().await;
        objects.retain(|key| !named.contains(key));
        objects
    };
    let (before, uploads) = (strays().await, context.uploads().await);
    let swept = context.sweep().await;
    report(&format!(
        "{} jobs, {faults:?}: {endings:?}; {} objects that no manifest names, {uploads} uploads before the sweep: {swept:?}",
        jobs.len(),
        before.len()
    ));
    assert_eq!(strays().await, Vec::<String>::new());
    assert_eq!(context.uploads().await, 0);
    let kept: BTreeSet<_> = context.objects().await.into_iter().collect();
    assert_eq!(kept, named, "something is missing");
    let bought = predictions_by_job(&context.stack);
    assert!(
        bought.values().all(|predictions| predictions.len() == 1),
        "a job was paid for twice"
    );
}
