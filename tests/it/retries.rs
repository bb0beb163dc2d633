//! Retries of jobs: they fetch missing outputs and pay nothing, unless `regenerate` is requested.

use darkroom_client::types::{failure::FailureType, status::JobStatus};
use darkroom_dev::s3;
use futures::future::{join, join_all};
use reqwest::{Response, StatusCode, header::HeaderValue};
use serde_json::json;

use crate::support::{
    api::{Api, Problem, job_in},
    context::{ExternalStore, TestContext},
    harness::{
        bought, change_script, endless, failure_type, job, options, sha256, shared, start, until,
    },
    proxy::{Fault, Operation},
    rpc_gate::{Held, Rpc, RpcGate},
    workflows::terminate_workflow,
};

#[tokio::test]
async fn a_partial_job_retried_fetches_what_is_missing_and_pays_nothing() {
    let api = Api::of(shared());
    let partial = api.run(&job(3, json!({"missing": [1]}))).await;
    assert_eq!(partial.status, JobStatus::Partial);
    let id = &partial.job_id;
    change_script(shared().provider.as_ref(), id, &json!({"missing": []}));
    let accepted = job_in(api.act(id, "retry").await).await;
    assert_eq!(
        (accepted.status, accepted.retry_count),
        (JobStatus::Pending, 1)
    );
    let retried = api.ended(id).await;
    assert_eq!(
        (retried.status, retried.retry_count),
        (JobStatus::Completed, 1),
        "{retried:#?}"
    );
    for index in [0, 2] {
        assert_eq!(
            retried.media[index].completed_at, partial.media[index].completed_at,
            "kept, not fetched"
        );
    }
    assert_eq!(retried.created_at, partial.created_at);
    assert_eq!(bought(shared().provider.as_ref(), id).len(), 1);
    assert_eq!(
        Problem::of(api.act(id, "retry").await).await,
        Problem::new(StatusCode::CONFLICT, "nothing-to-retry")
    );
}

#[tokio::test]
async fn a_retry_regenerates_only_on_request() {
    let api = Api::of(shared());
    let failed = api.run(&job(2, json!({"fail": "NSFW content"}))).await;
    let id = &failed.job_id;
    assert_eq!(
        Problem::of(api.act(id, "retry").await).await,
        Problem::new(StatusCode::CONFLICT, "generation-needed")
    );
    let regenerated = api.retry(id, None, &json!({"regenerate": true})).await;
    assert_eq!(regenerated.status(), StatusCode::ACCEPTED);
    assert_eq!(api.ended(id).await.retry_count, 1);
    assert_eq!(bought(shared().provider.as_ref(), id).len(), 2);

    let removed = api
        .run(&job(2, json!({"missing": [0], "retention_ms": 0})))
        .await;
    let id = &removed.job_id;
    assert_eq!(api.act(id, "retry").await.status(), StatusCode::ACCEPTED);
    let still = api.ended(id).await;
    let bought = bought(shared().provider.as_ref(), id).len();
    assert_eq!(
        (failure_type(still.media[0].error.as_ref()), bought),
        (Some(FailureType::SourceExpired), 1),
        "{still:#?}"
    );
}

/// All outputs are stored, and only the manifest is missing.
#[tokio::test]
async fn a_job_that_was_terminated_before_its_manifest_is_finished_for_free() {
    let proxied = TestContext::behind_proxy(options("retry-terminated"), &[], None).await;
    let (context, proxy) = (&proxied.context, &proxied.proxy);
    let refused = Fault::Refuse(503, "SlowDown");
    proxy.plan("job.json", Operation::PutObject, refused, u32::MAX);
    let api = &context.api;
    let id = api.accepted(&context.job_of(&["bytes=1000"; 2])).await;
    until("outputs that are stored", async || {
        let stored = api.get(&id).await.media_counts.completed;
        (stored == 2).then_some(())
    })
    .await;
    terminate_workflow(&context.stack, &id).await;
    assert_eq!(api.ended(&id).await.status, JobStatus::Failed);
    proxy.remove_faults("job.json");

    assert_eq!(api.act(&id, "retry").await.status(), StatusCode::ACCEPTED);
    let finished = api.ended(&id).await;
    assert_eq!(finished.status, JobStatus::Completed, "{finished:#?}");
    assert_eq!(bought(context.stack.provider.as_ref(), &id).len(), 1);
    let manifest = format!("jobs/{id}/job.json");
    assert!(context.objects().await.contains(&manifest));
}

/// Puts an object where an earlier generation may have left one.
#[tokio::test]
async fn a_retry_after_another_generation_replaces_what_the_earlier_one_left() {
    let stack = start(&options("generations")).await;
    let api = Api::of(&stack);
    let store = ExternalStore::on_loopback(&stack.s3.endpoint, &stack.s3.endpoint).client();
    let like = api.run(&job(1, json!({}))).await;
    let failed = api.run(&job(1, json!({"missing": [0]}))).await;
    let id = &failed.job_id;
    let again = api.retry(id, None, &json!({"regenerate": true})).await;
    assert_eq!(again.status(), StatusCode::ACCEPTED);
    let failed = api.ended(id).await;
    assert_eq!(failed.status, JobStatus::Failed, "{failed:#?}");
    let key = like.media[0].s3_key.as_ref().unwrap().as_str();
    let key = key.replace(&like.job_id.to_string(), &id.to_string());
    let left = store.put_object().bucket(s3::BUCKET).key(&key);
    left.body(b"of the first".to_vec().into())
        .send()
        .await
        .unwrap();
    change_script(stack.provider.as_ref(), id, &json!({"missing": []}));
    assert_eq!(api.act(id, "retry").await.status(), StatusCode::ACCEPTED);
    let job = api.ended(id).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    let stored = store.get_object().bucket(s3::BUCKET).key(&key);
    let stored = stored.send().await.unwrap().body.collect().await.unwrap();
    assert_eq!(job.media[0].sha256, Some(sha256(&stored.into_bytes())));
    assert_eq!(bought(stack.provider.as_ref(), id).len(), 2);
}

#[tokio::test]
async fn a_running_job_is_not_retried() {
    let api = Api::of(shared());
    let id = api.accepted(&endless()).await;
    assert_eq!(
        Problem::of(api.act(&id, "retry").await).await,
        Problem::new(StatusCode::CONFLICT, "not-ended")
    );
    api.act(&id, "cancel").await;
    api.ended(&id).await;
}

#[tokio::test]
async fn a_repeated_retry_returns_the_same_run() {
    let api = Api::of(shared());
    let failed = api.run(&job(1, json!({"fail": "NSFW content"}))).await;
    let id = &failed.job_id;
    let again = &json!({"regenerate": true});
    // Concurrent retries with one idempotency key: all return the same run.
    let retries = (0..10).map(|_| api.retry(id, Some("again"), again));
    for answer in join_all(retries).await {
        assert!(answer.status().is_success(), "{}", answer.status());
    }
    let ended = api.ended(id).await;
    assert_eq!(ended.retry_count, 1);
    assert_eq!(bought(shared().provider.as_ref(), id).len(), 2);

    // The key returns the same run after its end, and after the end of a later run.
    let replayed = api.retry(id, Some("again"), again).await;
    assert_eq!(
        (
            replayed.status(),
            &replayed.headers()["idempotent-replayed"]
        ),
        (StatusCode::OK, &HeaderValue::from_static("true"))
    );
    assert_eq!(job_in(replayed).await, ended);
    let further = api.retry(id, Some("further"), again).await;
    assert_eq!(further.status(), StatusCode::ACCEPTED);
    assert_eq!(api.ended(id).await.retry_count, 2);
    let replayed = api.retry(id, Some("again"), again).await;
    assert_eq!(replayed.status(), StatusCode::OK);
    assert_eq!(bought(shared().provider.as_ref(), id).len(), 3);
    assert_eq!(
        Problem::of(api.retry(id, Some("again"), &json!({})).await).await,
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-mismatch")
    );
}

#[tokio::test]
async fn of_retries_without_a_key_one_is_accepted() {
    let api = Api::of(shared());
    // The retried run takes five seconds, as a retry that comes after its end would be accepted.
    let failing = job(1, json!({"fail": "NSFW content", "latency_ms": 5000}));
    let failed = api.run(&failing).await;
    let id = &failed.job_id;
    let again = &json!({"regenerate": true});
    let answers = join_all((0..10).map(|_| api.retry(id, None, again))).await;
    let statuses: Vec<_> = answers.iter().map(Response::status).collect();
    let accepted = statuses
        .iter()
        .filter(|status| **status == StatusCode::ACCEPTED);
    let refused = statuses
        .iter()
        .filter(|status| **status == StatusCode::CONFLICT);
    assert_eq!((accepted.count(), refused.count()), (1, 9), "{statuses:?}");
    assert_eq!(api.ended(id).await.retry_count, 1);
    assert_eq!(bought(shared().provider.as_ref(), id).len(), 2);
}

/// The slower of two retries follows a run that is no longer the latest.
#[tokio::test]
async fn a_retry_that_is_overtaken_starts_nothing() {
    let api = Api::of(shared());
    let gate = RpcGate::start(&shared().temporal.address).await;
    let gated = [("TEMPORAL_ADDRESS", gate.address.clone())];
    let (_process, address) = shared().spawn_another_api(&gated).await.unwrap();
    let slow = api.at(address);
    let again = &json!({"regenerate": true});
    for key in [None, Some("overtaken")] {
        let failed = api.run(&job(1, json!({"fail": "NSFW content"}))).await;
        let id = &failed.job_id;
        gate.hold(id, Rpc::Starts, Held::Request);
        let overtaking = async {
            until("a start that is held", async || {
                gate.is_held(id).then_some(())
            })
            .await;
            let first = api.retry(id, None, again).await;
            assert_eq!(first.status(), StatusCode::ACCEPTED);
            assert_eq!(api.ended(id).await.retry_count, 1);
            gate.open();
        };
        let (overtaken, ()) = join(slow.retry(id, key, again), overtaking).await;
        assert_eq!(
            Problem::of(overtaken).await,
            Problem::new(StatusCode::CONFLICT, "not-ended")
        );
        assert_eq!(api.ended(id).await.retry_count, 1);
        assert_eq!(bought(shared().provider.as_ref(), id).len(), 2);
    }
}

/// Sends a `Content-Type` with an empty body, as axios, `curl -H` and generated clients do.
#[tokio::test]
async fn an_empty_body_with_a_type_is_no_body() {
    let api = Api::of(shared());
    let partial = api
        .run(&job(2, json!({"missing": [1], "webhooks": 0})))
        .await;
    let id = &partial.job_id;
    let url = format!("{}/v1/jobs/{id}/retry", api.url);
    let retry = api
        .http
        .post(url)
        .header("Content-Type", "application/json");
    let retry = retry.body(String::new());
    assert_eq!(retry.send().await.unwrap().status(), StatusCode::ACCEPTED);
    api.ended(id).await;
}
