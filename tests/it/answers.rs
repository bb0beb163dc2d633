//! Unusual answers of the provider: each job ends correctly and pays once at most.

use std::time::Duration;

use darkroom_client::types::{
    failure::{FailureType, JobError},
    status::JobStatus,
};
use darkroom_dev::provider::control::Outage;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    api::Api,
    harness::{
        DEADLINE, bought, bought_one, failure_type, job, options, options_with, prediction_id,
        setting, shared, start,
    },
};

/// Covers answers that are late or partly unreadable. The unreadable part is lost, the job is not.
#[tokio::test]
async fn late_and_malformed_answers_buy_once() {
    let api = Api::of(shared());
    let cases = [
        json!({"not_found_for_ms": 4_000, "latency_ms": 500, "webhooks": 0}),
        json!({"not_found_for_ms": 12_000, "latency_ms": 500, "webhooks": 0}),
        json!({"booting_for_ms": 4_000, "latency_ms": 500, "webhooks": 0}),
        json!({"sloppy": true, "latency_ms": 500}),
        json!({"sloppy": true, "fail": "half a pair"}),
        json!({"outputs_after_ms": 2_500, "latency_ms": 200, "webhooks": 0}),
        json!({"outputs_after_ms": 11_000, "latency_ms": 200, "webhooks": 0}),
        // The answer to the create has the end; the first read is that of an output.
        json!({"inline": true, "latency_ms": 0, "not_found_for_ms": 4_000, "webhooks": 0}),
        json!({"inline": true, "latency_ms": 0, "lags_for_ms": 4_000, "webhooks": 0}),
    ];
    let run = async |dev: &Value| api.run(&job(2, dev.clone())).await;
    for (dev, job) in cases.iter().zip(join_all(cases.iter().map(run)).await) {
        let expected = if dev["fail"].is_null() {
            JobStatus::Completed
        } else {
            JobStatus::Failed
        };
        assert_eq!(job.status, expected, "{dev} {job:#?}");
        let provider = job.provider.as_ref().unwrap();
        assert!(provider.created_at.is_some(), "{job:#?}");
        let bought = bought(shared().provider.as_ref(), &job.job_id).len();
        assert_eq!(bought, 1, "{dev}");
        if let [first, second] = job.media.as_slice() {
            assert_ne!(first.sha256, second.sha256, "{dev} {job:#?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_ends_the_job_at_once_with_its_id() {
    let api = Api::of(shared());
    let dev = json!({"log_bytes": 70 * 1024 * 1024, "latency_ms": 500, "webhooks": 0});
    let job = api.run(&job(1, dev)).await;
    assert_eq!(job.status, JobStatus::Failed, "{job:#?}");
    let prediction = bought_one(shared().provider.as_ref(), &job.job_id).await;
    let error = failure_type(job.error.as_ref());
    assert_eq!(error, Some(FailureType::ProviderUnreadable), "{job:#?}");
    assert_eq!(prediction_id(&job), Some(prediction.id.as_str()));
}

#[tokio::test]
async fn a_refusal_costs_nothing_and_says_why() {
    let api = Api::of(shared());
    let refused = api
        .run(&job(2, json!({"refuse": 422, "refuse_with_list": true})))
        .await;
    let JobError { kind, detail, .. } = refused.error.unwrap();
    assert_eq!(
        (refused.status, kind),
        (JobStatus::Failed, FailureType::ProviderRejected)
    );
    assert!(
        detail.contains("body.input.seed: must be whole"),
        "{detail}"
    );

    // An unpaid account is the operator's to fix: the job waits for that until its deadline.
    let stack = start(&options("unpaid")).await;
    let api = Api::of(&stack);
    let mut request = job(2, json!({"refuse": 402}));
    request["deadline_seconds"] = 4.into();
    let unpaid = api.run(&request).await;
    let JobError { kind, detail, .. } = unpaid.error.unwrap();
    assert_eq!(
        (unpaid.status, kind),
        (JobStatus::Failed, FailureType::DeadlineExceeded)
    );
    assert!(detail.contains("ProviderInsufficientCredit"), "{detail}");
    assert_eq!(stack.provider.as_ref().unwrap().predictions().len(), 0);
}

/// A gateway that blocks calls for a while says nothing of the request.
#[tokio::test]
async fn a_refusal_of_a_gateway_is_waited_out() {
    let api = Api::of(shared());
    let run = async |status: u16| {
        let mut request = job(1, json!({"answer_status": status, "answer_html": true}));
        request["deadline_seconds"] = 20.into();
        api.run(&request).await
    };
    for blocked in join_all([403, 404].map(run)).await {
        let JobError { kind, detail, .. } = blocked.error.unwrap();
        assert_eq!(kind, FailureType::DeadlineExceeded, "{detail}");
        assert!(detail.contains("ProviderUnavailable"), "{detail}");
    }
}

/// A rate limit without a hint is a momentary one, and does not slow down all workers for minutes.
#[tokio::test]
async fn a_rate_limit_without_a_hint_is_over_soon() {
    const JOBS: usize = 30;
    let variables = [("REPLICATE_CREATES_PER_MINUTE", "600")];
    let stack = start(&options_with("limited-without-hint", &variables)).await;
    let api = Api::of(&stack);
    stack
        .provider
        .as_ref()
        .unwrap()
        .fail(Outage::new(429, 1, None));
    let ids = join_all((0..JOBS).map(async |_| api.accepted(&job(1, json!({}))).await)).await;
    for id in &ids {
        let job = api.ended_within(id, Duration::from_mins(2)).await;
        assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    }
}

#[tokio::test]
async fn an_outage_of_the_provider_delays_jobs_and_fails_none() {
    let stack = start(&options("provider-away")).await;
    let api = Api::of(&stack);
    let provider = stack.provider.as_ref().unwrap();
    let before = api.accepted(&job(2, json!({"latency_ms": 2000}))).await;
    bought_one(stack.provider.as_ref(), &before).await;
    // Short by default; `DARKROOM_OUTAGE_SECONDS` sets the length of the outage.
    let seconds: u32 = setting("DARKROOM_OUTAGE_SECONDS", 4);
    // A submission without an answer is searched for during a minute before it is sent again.
    let timeout = 2 * Duration::from_secs(seconds.into()) + 3 * DEADLINE;
    provider.fail(Outage::new(500, seconds, None));
    let during = api.accepted(&job(2, json!({}))).await;
    for id in [&before, &during] {
        let job = api.ended_within(id, timeout).await;
        assert_eq!(job.status, JobStatus::Completed);
        assert_eq!(bought(stack.provider.as_ref(), id).len(), 1);
    }
    provider.fail(Outage::new(429, seconds, Some(5)));
    let limited = api.accepted(&job(2, json!({}))).await;
    let job = api.ended_within(&limited, timeout).await;
    assert_eq!(job.status, JobStatus::Completed);
    assert_eq!(bought(stack.provider.as_ref(), &limited).len(), 1);
}
