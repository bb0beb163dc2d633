//! Restore of Temporal's database from an older dump: jobs that ended since the dump end the same
//! way again and are not bought again.

use std::path::Path;

use darkroom_client::types::{
    job_id::JobId,
    status::{JobStatus, MediaStatus},
};
use darkroom_dev::{Options, s3};
use futures::future::join_all;
use jiff::Timestamp;
use serde_json::json;

use crate::support::{
    api::Api,
    harness::{DEADLINE, bought, count, fresh_directory, job, options, prediction_id, start},
    processes::{TEMPORAL_FILES, start_temporal, start_worker},
};

/// Copies the database of a Temporal server.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in TEMPORAL_FILES {
        let _ = std::fs::remove_file(to.join(file));
        if from.join(file).exists() {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }
}

/// Covers jobs that were queued in the dump and have ended since, with sources that still exist and
/// with sources that have expired.
#[tokio::test]
async fn jobs_that_ended_after_the_dump_end_the_same_way_and_are_not_bought_again() {
    let mut options = options("restore");
    let (data, dump) = (options.directory.clone(), fresh_directory("restore-dump"));
    let mut stack = start(&options).await;
    let api = Api::of(&stack);
    stack.worker.kill();
    // All traces of this job but its workflow are removed below, as if no worker had started it
    // before the restore.
    let unstarted = api.accepted(&job(1, json!({}))).await;
    let queued = async |dev| api.accepted(&job(2, dev)).await;
    let ids = [
        queued(json!({})).await,
        queued(json!({"latency_ms": 500})).await,
        queued(json!({"retention_ms": 1_000})).await,
        queued(json!({"fail": "no", "retention_ms": 1_000})).await,
    ];
    stack.temporal.kill();
    copy(&data, &dump);
    let dumped_at = Timestamp::now();
    stack.temporal = start_temporal(&options).await;
    start_worker(&mut stack);
    assert_eq!(api.ended(&unstarted).await.status, JobStatus::Completed);
    let before = join_all(ids.iter().map(|id| api.ended(id))).await;

    stack.temporal.kill();
    drop(stack);
    copy(&dump, &data);
    remove_traces(&data, &unstarted);
    let lost_period = format!("{dumped_at},{}", Timestamp::now());
    options = Options {
        variables: vec![("DARKROOM_LOST_TIME", lost_period)],
        ..options
    };
    let stack = start(&options).await;
    let api = Api::of(&stack);
    for (id, before) in ids.iter().zip(before) {
        let again = api.ended(id).await;
        assert_eq!(again.status, before.status, "{again:#?}");
        assert_eq!(
            count(&again, MediaStatus::Completed),
            count(&before, MediaStatus::Completed)
        );
        assert_eq!(prediction_id(&again), prediction_id(&before));
        let bought = bought(stack.provider.as_ref(), id).len();
        assert_eq!(bought, 1, "nothing is bought again");
    }
    let job = api.ended_within(&unstarted, 3 * DEADLINE).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    assert_eq!(bought(stack.provider.as_ref(), &unstarted).len(), 1);
}

/// Removes everything that the provider and the store have of a job.
fn remove_traces(data: &Path, job_id: &JobId) {
    let media = data.join("s3").join(s3::BUCKET).join(job_id.prefix());
    std::fs::remove_dir_all(media).unwrap();
    for entry in std::fs::read_dir(data.join("provider")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if text.contains(&job_id.to_string()) {
            std::fs::remove_file(path).unwrap();
        }
    }
}
