//! Submissions that no search has shown, and what becomes of the job that submits again: a purchase
//! that becomes known late is adopted, and nothing is paid for that the caller has not asked for.

use darkroom_client::types::{resource::Job, status::JobStatus};
use serde_json::json;

use crate::support::{
    api::Api,
    harness::{bought, bought_one, job, options_with, start, until},
};

/// The provider takes the work of a create that it answers with an error, and does not show it. The
/// job waits for its turn to submit again when the report of the end arrives.
#[tokio::test]
async fn a_report_that_comes_before_the_next_submission_is_adopted() {
    let (job, bought) = shows_up_in_the_queue("shown-in-queue", None).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    assert_eq!(bought, 1);
}

/// The same, and the job ends for its deadline before the report arrives, which resumes it.
#[tokio::test]
async fn a_report_that_comes_after_the_deadline_is_adopted() {
    let (job, bought) = shows_up_in_the_queue("shown-after-deadline", Some(68)).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    assert_eq!(bought, 1);
}

/// Runs a job whose prediction shows up only by its report, while it waits for its next submission:
/// another job takes the only submission of the next minute. Returns the job, and the number of
/// its predictions.
async fn shows_up_in_the_queue(name: &str, deadline_seconds: Option<u32>) -> (Job, usize) {
    let stack = start(&options_with(
        name,
        &[("REPLICATE_CREATES_PER_MINUTE", "1")],
    ))
    .await;
    let api = Api::of(&stack);
    let dev =
        json!({"answer_status": 503, "taken_after_ms": 0, "hidden": true, "latency_ms": 75_000});
    let mut request = job(1, dev);
    request["deadline_seconds"] = json!(deadline_seconds);
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
