//! Lists of jobs.

use std::collections::BTreeSet;

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Api, job, options, start, until};

/// A page, as a caller gets it who waits for its turn.
async fn page(api: &Api, query: &str) -> Value {
    until("a page", async || {
        let page = api.http.get(format!("{}/v1/jobs?{query}", api.url));
        let response = page.send().await.unwrap();
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            return None;
        }
        assert_eq!(response.status(), StatusCode::OK, "{query}");
        Some(response.json().await.unwrap())
    })
    .await
}

fn ids(page: &Value) -> Vec<String> {
    page["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["job_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn jobs_are_listed_filtered_and_paged() {
    let stack = start(&options("listing")).await;
    let api = Api::of(&stack);
    let mut ended = Vec::new();
    for _ in 0..5 {
        ended.push(
            api.run(&job(1, json!({}))).await["job_id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let mut video = job(1, json!({"fail": "no"}));
    video["model"] = "acme/video".into();
    let failed = api.run(&video).await["job_id"].as_str().unwrap().to_owned();
    let open = api.accepted(&job(1, json!({"latency_ms": 60_000}))).await;
    let all = until("seven jobs", async || {
        let page = page(&api, "limit=100").await;
        let settled = ids(&page).len() == 7 && page["jobs"][1]["status"] == "failed";
        settled.then_some(page)
    })
    .await;
    ended.reverse();
    let expected: Vec<_> = [open.clone(), failed.clone()]
        .into_iter()
        .chain(ended.clone())
        .collect();
    assert_eq!(
        ids(&all),
        expected,
        "what is open first, then what ended last"
    );
    assert_eq!(
        (&all["jobs"][0]["status"], &all["next_cursor"]),
        (&json!("processing"), &Value::Null)
    );

    for (query, expected) in [
        ("status=processing", vec![&open]),
        ("status=failed", vec![&failed]),
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
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, ended);
    assert_eq!(paged.iter().collect::<BTreeSet<_>>().len(), 5);

    let first = page(&api, "limit=2&status=completed").await;
    let foreign = format!(
        "{}/v1/jobs?limit=2&cursor={}",
        api.url,
        first["next_cursor"].as_str().unwrap()
    );
    let refused = api.http.get(foreign).send().await.unwrap();
    assert_eq!(
        refused.status(),
        StatusCode::BAD_REQUEST,
        "a cursor belongs to its filters"
    );
}

#[tokio::test]
async fn a_job_that_was_taken_up_again_is_listed_once_as_it_is_now() {
    let stack = start(&options("listing-retry")).await;
    let api = Api::of(&stack);
    let id = api
        .run(&job(2, json!({"missing": [0], "missing_for_ms": 2000})))
        .await["job_id"]
        .as_str()
        .unwrap()
        .to_owned();
    until("retried job", async || {
        let response = api.act(&id, "retry").await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        (api.ended(&id).await["status"] == "completed").then_some(())
    })
    .await;
    until("the job in the list", async || {
        let page = page(&api, "").await;
        (ids(&page) == [id.clone()] && page["jobs"][0]["status"] == "completed").then_some(())
    })
    .await;
    assert!(ids(&page(&api, "status=partial").await).is_empty());
}

/// A visibility store answers ten questions a second. Whoever lists without end takes none of them from whoever creates.
#[tokio::test]
async fn lists_have_a_limit_of_their_own() {
    let stack = start(&options("listing-limit")).await;
    let api = Api::of(&stack);
    let list = async |number: usize| {
        let url = format!(
            "{}/v1/jobs?created_after=2026-01-01T00:00:{number:02}Z",
            api.url
        );
        api.http.get(url).send().await.unwrap().status()
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
    // The same page costs one question, however often it is asked for.
    let same = until("a page", async || {
        (list(59).await == StatusCode::OK).then_some(StatusCode::OK)
    });
    same.await;
    let same = join_all((0..40).map(|_| list(59))).await;
    assert!(
        same.iter().all(|status| *status == StatusCode::OK),
        "{same:?}"
    );
    assert!(api.post(&job(1, json!({}))).await.status().is_success());
}
