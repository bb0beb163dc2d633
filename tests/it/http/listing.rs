//! Lists of jobs: filters, pages, limits, and jobs that only Temporal or only the store still has.

use std::collections::BTreeSet;

use darkroom_client::types::{
    job_id::JobId,
    resource::{JobPage, JobSummary},
    status::{JobStatus, MediaStatus},
};
use darkroom_dev::{Stack, s3};
use darkroom_workflows::job::IndexEntry;
use futures::future::join_all;
use jiff::{Timestamp, tz::TimeZone};
use reqwest::StatusCode;
use serde_json::json;

use crate::support::{
    api::{Api, Problem},
    context::{ExternalStore, TestContext},
    harness::{change_script, job, options, start, until},
    processes::restart_with_empty_temporal,
    workflows::terminate_workflow,
};

/// Reads a page of the list. Retries while it is rate limited.
async fn page(api: &Api, query: &str) -> JobPage {
    until("a page", async || {
        let response = api.get_path(&format!("/v1/jobs?{query}")).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            return None;
        }
        assert_eq!(response.status(), StatusCode::OK, "{query}");
        Some(response.json().await.unwrap())
    })
    .await
}

fn ids(page: &JobPage) -> Vec<JobId> {
    page.jobs.iter().map(|job| job.job_id).collect()
}

#[tokio::test]
async fn jobs_are_listed_filtered_and_paged() {
    let stack = start(&options("listing")).await;
    let api = Api::of(&stack);
    let mut ended = Vec::new();
    for _ in 0..5 {
        ended.push(api.run(&job(1, json!({}))).await.job_id);
    }
    let mut video = job(1, json!({"fail": "no"}));
    video["model"] = "acme/video".into();
    let failed = api.run(&video).await.job_id;
    let terminated = api.accepted(&job(1, json!({"latency_ms": 60_000}))).await;
    terminate_workflow(&stack, &terminated).await;
    let open = api.accepted(&job(1, json!({"latency_ms": 60_000}))).await;
    let all = until("eight jobs", async || {
        let page = page(&api, "limit=100").await;
        let has_all = page.jobs.len() == 8 && page.jobs[1].status == JobStatus::Failed;
        has_all.then_some(page)
    })
    .await;
    ended.reverse();
    let others = [open, terminated, failed].into_iter();
    let expected: Vec<_> = others.chain(ended.clone()).collect();
    assert_eq!(
        ids(&all),
        expected,
        "what is open first, then what ended last"
    );
    assert_eq!(
        (all.jobs[0].status, all.next_cursor),
        (JobStatus::Processing, None)
    );

    for (query, expected) in [
        ("status=processing", vec![&open]),
        ("status=failed", vec![&terminated, &failed]),
        ("status=completed", ended.iter().collect()),
        ("status=canceled", vec![]),
        ("model=acme/video", vec![&failed]),
        ("model=acme/video&status=completed", vec![]),
        ("created_after=2999-01-01T00:00:00Z", vec![]),
        ("created_before=2001-01-01T00:00:00Z", vec![]),
    ] {
        assert_eq!(
            ids(&page(&api, query).await).iter().collect::<Vec<_>>(),
            expected,
            "{query}"
        );
    }

    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = page(&api, &format!("limit=2&status=completed{cursor}")).await;
        assert!(ids(&page).len() <= 2);
        paged.extend(ids(&page));
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, ended);
    assert_eq!(paged.iter().collect::<BTreeSet<_>>().len(), 5);

    let first = page(&api, "limit=2&status=completed").await;
    let cursor = first.next_cursor.unwrap();
    let refused = api
        .get_path(&format!("/v1/jobs?limit=2&cursor={cursor}"))
        .await;
    assert_eq!(
        refused.status(),
        StatusCode::BAD_REQUEST,
        "a cursor belongs to its filters"
    );
}

#[tokio::test]
async fn a_retried_job_is_listed_once_with_its_current_status() {
    let stack = start(&options("listing-retry")).await;
    let api = Api::of(&stack);
    let id = api.run(&job(2, json!({"missing": [0]}))).await.job_id;
    change_script(stack.provider.as_ref(), &id, &json!({"missing": []}));
    let response = api.act(&id, "retry").await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(api.ended(&id).await.status, JobStatus::Completed);
    until("the job in the list", async || {
        let page = page(&api, "").await;
        let is_completed = |job: &JobSummary| job.status == JobStatus::Completed;
        (ids(&page) == [id] && page.jobs.iter().all(is_completed)).then_some(())
    })
    .await;
    assert!(ids(&page(&api, "status=partial").await).is_empty());
}

/// A visibility store answers ten queries a second. A caller that lists without pause must not take
/// the share of callers that create jobs.
#[tokio::test]
async fn lists_have_a_limit_of_their_own() {
    let stack = start(&options("listing-limit")).await;
    let api = Api::of(&stack);
    let list = async |number: usize| {
        let path = format!("/v1/jobs?created_after=2026-01-01T00:00:{number:02}Z");
        api.get_path(&path).await.status()
    };
    let statuses = join_all((0..40).map(list)).await;
    let is = |wanted: StatusCode| move |status: &&StatusCode| **status == wanted;
    let listed = statuses.iter().filter(is(StatusCode::OK)).count();
    let refused = statuses
        .iter()
        .filter(is(StatusCode::TOO_MANY_REQUESTS))
        .count();
    assert!((1..=20).contains(&listed), "{statuses:?}");
    assert_eq!(listed + refused, 40, "{statuses:?}");
    // The same page costs one query, however often it is requested.
    let same = until("a page", async || {
        (list(59).await == StatusCode::OK).then_some(StatusCode::OK)
    });
    same.await;
    let same = join_all((0..40).map(|_| list(59))).await;
    assert!(
        same.iter().all(|status| *status == StatusCode::OK),
        "{same:?}"
    );
    // An expanded page reads its jobs, cached or not.
    let expanded = async |_| {
        let path = "/v1/jobs?expand=media&created_after=2026-01-01T00:00:59Z";
        api.get_path(path).await.status()
    };
    let expanded = join_all((0..40).map(expanded)).await;
    let expanded = expanded.iter().filter(is(StatusCode::OK)).count();
    assert!((1..=20).contains(&expanded), "{expanded}");
    assert!(api.post(&job(1, json!({}))).await.status().is_success());
}

#[tokio::test]
async fn a_list_can_have_the_outputs_of_its_jobs() {
    let stack = start(&options("listing-expanded")).await;
    let api = Api::of(&stack);
    let done = api.run(&job(2, json!({"missing": [1]}))).await;
    let open = api.accepted(&job(1, json!({"latency_ms": 60_000}))).await;
    let expanded = until("both jobs", async || {
        let page = page(&api, "expand=media&limit=50").await;
        (page.jobs.len() == 2 && page.jobs[1].status == JobStatus::Partial).then_some(page)
    })
    .await;
    let jobs = expanded.jobs;
    assert_eq!((&jobs[0].job_id, &jobs[0].media), (&open, &Some(vec![])));
    assert_eq!(jobs[1].media, Some(api.get(&done.job_id).await.media));
    let prompt = jobs[1].prompt.as_ref().unwrap();
    assert_eq!(prompt.as_str(), "a fox in the snow");
    let plain = &page(&api, "").await.jobs[1];
    assert_eq!((&plain.media, &plain.prompt), (&None, &None));
    assert_eq!(
        Problem::of(api.get_path("/v1/jobs?expand=media&limit=51").await).await,
        Problem::new(StatusCode::BAD_REQUEST, "invalid-parameter")
    );
}

/// Lists jobs that Temporal has, and then jobs that it has deleted after their retention.
#[tokio::test]
async fn jobs_beyond_temporals_retention_are_listed_from_the_store() {
    let options = options("listing-past");
    let mut past = Vec::new();
    let stack = start(&options).await;
    let api = Api::of(&stack);
    for number in 0..5 {
        let model = if number == 2 {
            "acme/video"
        } else {
            "acme/photo"
        };
        let mut request = job(1, json!({}));
        request["model"] = model.into();
        past.push(api.run(&request).await.job_id);
    }
    let stack = restart_with_empty_temporal(stack, &options).await;
    let api = Api::of(&stack);
    put_marker(&stack).await;
    let fresh = api.run(&job(1, json!({}))).await.job_id;
    until("the fresh job", async || {
        let page = page(&api, "limit=1").await;
        (ids(&page) == [fresh]).then_some(())
    })
    .await;

    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = page(&api, &format!("limit=2{cursor}")).await;
        assert!(ids(&page).len() <= 2);
        all.extend(ids(&page));
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(all[0], fresh);
    assert_eq!(all.len(), 6, "{all:?}");
    assert_eq!(
        all.iter().collect::<BTreeSet<_>>(),
        past.iter().chain([&fresh]).collect()
    );
    let tomorrow = "created_after=2999-01-01T00:00:00Z";
    assert!(ids(&page(&api, tomorrow).await).is_empty());
    let expanded = page(&api, "expand=media").await;
    let media = expanded.jobs[1].media.as_ref().unwrap();
    assert_eq!(media[0].status, MediaStatus::Completed, "{expanded:#?}");
}

/// Puts an object that is no entry before the entries of today's index, as a store's console may.
async fn put_marker(stack: &Stack) {
    let store = ExternalStore::on_loopback(&stack.s3.endpoint, &stack.s3.endpoint).client();
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let marker = format!("{}.keep", IndexEntry::prefix_of_day(None, today));
    let put = store.put_object().bucket(s3::BUCKET).key(marker);
    put.send().await.unwrap();
}

#[tokio::test]
async fn jobs_in_temporal_are_listed_without_the_store() {
    let (context, gateway) = TestContext::on_gateway(options("listing-storeless"), &[]).await;
    let api = &context.api;
    let done = [api.run(&job(1, json!({}))).await.job_id];
    until("the job", async || {
        (ids(&page(api, "limit=1").await) == done).then_some(())
    })
    .await;
    gateway.stop();
    let known = page(api, "limit=3").await;
    assert_eq!(ids(&known), done);
    let cursor = known.next_cursor.unwrap();
    let rest = api
        .get_path(&format!("/v1/jobs?limit=3&cursor={cursor}"))
        .await;
    assert_eq!(rest.status(), StatusCode::SERVICE_UNAVAILABLE);
}
