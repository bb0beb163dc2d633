//! Submissions that no search has shown, and what becomes of the job that submits again: a purchase
//! that becomes known late is adopted, and nothing is paid for that the caller has not asked for.

use std::time::Duration;

use darkroom_client::types::{resource::Job, status::JobStatus};
use darkroom_dev::provider::control::Outage;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    api::Api,
    harness::{bought, bought_one, job, options, options_with, start, until},
};

/// Duration of the search after a failure of the provider itself.
const SEARCH: Duration = Duration::from_mins(1);

/// Time from the end of the search to the report, while the job waits for its next submission.
const SHOWN_AFTER: Duration = Duration::from_secs(30);

/// The provider takes the work of a create that it answers with an error, and does not show it. The
/// job waits to submit again when the report of the end arrives.
#[tokio::test]
async fn a_report_that_comes_before_the_next_submission_is_adopted() {
    let (job, bought) = shows_up_in_the_queue("shown-in-queue", None).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    assert_eq!(bought, 1);
}

/// The same, and the job ends for its deadline before the report arrives, which resumes it.
#[tokio::test]
async fn a_report_that_comes_after_the_deadline_is_adopted() {
    let (job, bought) =
        shows_up_in_the_queue("shown-after-deadline", Some(SEARCH + SHOWN_AFTER / 2)).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    assert_eq!(bought, 1);
}

/// Runs a job whose prediction shows up only by its report, while it waits for its next submission:
/// another job takes the only submission of the next minute. Returns the job, and the number of
/// its predictions.
async fn shows_up_in_the_queue(name: &str, deadline: Option<Duration>) -> (Job, usize) {
    let stack = start(&options_with(
        name,
        &[("REPLICATE_CREATES_PER_MINUTE", "1")],
    ))
    .await;
    let api = Api::of(&stack);
    let latency = SEARCH + SHOWN_AFTER;
    let dev = json!({"answer_status": 503, "taken_after_ms": 0, "hidden": true, "latency_ms": latency.as_millis()});
    let mut request = job(1, dev);
    request["deadline_seconds"] = json!(deadline.map(|deadline| deadline.as_secs()));
    let id = api.accepted(&request).await;
    bought_one(stack.provider.as_ref(), &id).await;
    let other = api.accepted(&job(1, json!({}))).await;
    let completed = async || {
        let job = api.get(&id).await;
        (job.status == JobStatus::Completed).then_some(job)
    };
    let job = until("a completed job", completed).await;
    api.act(&other, "cancel").await;
    (job, bought(stack.provider.as_ref(), &id).len())
}

/// The provider fails once, and takes the next submission, whose answer the deadline overtakes. The
/// job knows what it has bought, so nothing is in doubt, and a retry does not buy.
#[tokio::test]
async fn a_purchase_after_a_doubt_leaves_none() {
    let stack = start(&options("bought-after-doubt")).await;
    let (api, provider) = (Api::of(&stack), stack.provider.as_ref().unwrap());
    provider.fail(Outage::new(500, 5, None));
    let answer_delay = Duration::from_secs(40);
    let dev = json!({"latency_ms": 3_600_000, "answer_delay_ms": answer_delay.as_millis()});
    let mut request = job(1, dev);
    request["deadline_seconds"] = (SEARCH + answer_delay / 2).as_secs().into();
    let id = api.accepted(&request).await;
    let ended = api.ended_within(&id, Duration::from_mins(5)).await;
    assert_eq!(ended.status, JobStatus::Failed, "{ended:#?}");
    assert_eq!(bought(Some(provider), &id).len(), 1);
    assert_eq!(ended.in_doubt_since, None, "{ended:#?}");
    let retried = api.retry(&id, None, &json!({})).await;
    assert_eq!(retried.status(), StatusCode::CONFLICT, "{ended:#?}");
    assert_eq!(bought(Some(provider), &id).len(), 1);
}

/// A job whose outputs are to be made again ends in doubt for its deadline. A retry that is not to
/// pay does not submit.
#[tokio::test]
async fn a_retry_after_a_failed_regeneration_does_not_buy() {
    let stack = start(&options("retry-after-regeneration")).await;
    let (api, provider) = (Api::of(&stack), stack.provider.as_ref().unwrap());
    let mut request = job(2, json!({"missing": [1]}));
    request["deadline_seconds"] = 40.into();
    let partial = api.run(&request).await;
    assert_eq!(partial.status, JobStatus::Partial, "{partial:#?}");
    let id = &partial.job_id;
    let retry = async |body: Value| {
        let response = api.retry(id, None, &body).await;
        assert!(response.status().is_success(), "{}", response.status());
        api.ended_within(id, Duration::from_mins(5)).await
    };
    provider.fail(Outage::new(500, 3600, None));
    let failed = retry(json!({"regenerate": true})).await;
    assert!(failed.in_doubt_since.is_some(), "{failed:#?}");
    // What is stored stays, and what the run did not come to fetch does not stay pending.
    assert_eq!(failed.status, JobStatus::Partial, "{failed:#?}");
    assert_eq!(failed.media_counts.pending, 0, "{failed:#?}");
    provider.fail(Outage::new(500, 0, None));
    assert_eq!(retry(json!({})).await.status, JobStatus::Partial);
    assert_eq!(bought(Some(provider), id).len(), 1);
}
