//! The description of the api (`/openapi.json`), its documentation page, and the api's metrics.

use std::collections::BTreeSet;

use darkroom_client::types::resource::Job;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    api::Api,
    harness::{job, shared},
};

pub(super) async fn fetch(api: &Api) -> Value {
    let answer = api.get_path("/openapi.json").await;
    assert_eq!(
        (
            answer.status(),
            answer.headers()["content-type"].to_str().unwrap()
        ),
        (StatusCode::OK, "application/json")
    );
    answer.json().await.unwrap()
}

#[tokio::test]
async fn jobs_survive_a_round_trip_through_their_type() {
    let api = Api::of(shared());
    for dev in [json!({}), json!({"missing": [1]}), json!({"fail": "no"})] {
        let id = api.run(&job(2, dev)).await.job_id;
        let answer = api.get_path(&format!("/v1/jobs/{id}")).await;
        let job: Value = answer.json().await.unwrap();
        let read: Job = serde_json::from_value(job.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), job);
    }
}

#[tokio::test]
async fn the_documentation_page_loads_nothing_from_other_hosts() {
    let api = Api::of(shared());
    let answer = api.get_path("/docs").await;
    assert_eq!(
        (
            answer.status(),
            answer.headers()["location"].to_str().unwrap()
        ),
        (StatusCode::TEMPORARY_REDIRECT, "docs/")
    );
    let answer = api.get_path("/docs/").await;
    assert_eq!(answer.status(), StatusCode::OK);
    let policy = answer.headers()["content-security-policy"]
        .to_str()
        .unwrap();
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("http"),
        "{policy}"
    );
    let page = answer.text().await.unwrap();
    let sources = page
        .split(['"', '\''])
        .filter(|text| text.starts_with("./"));
    let mut files = 0;
    for file in sources {
        let answer = api
            .get_path(&format!("/docs/{}", file.trim_start_matches("./")))
            .await;
        assert_eq!(answer.status(), StatusCode::OK, "{file}");
        files += 1;
    }
    assert!(files >= 4 && !page.contains("http"), "{page}");
    let initializer = api.get_path("/docs/swagger-initializer.js").await;
    let initializer = initializer.text().await.unwrap();
    assert!(initializer.contains("\"../openapi.json\""), "{initializer}");
}

#[tokio::test]
async fn metrics_can_be_scraped() {
    let api = Api::of(shared());
    let id = api.run(&job(1, json!({}))).await.job_id;
    let answer = api.get_path("/v1/made/up").await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let text = api.metrics().await;
    for line in [
        "darkroom_http_requests_total{method=\"POST\",route=\"/v1/jobs\",status=\"202\"}",
        "darkroom_http_requests_total{method=\"GET\",route=\"/v1/jobs/{job_id}\",status=\"200\"}",
        "darkroom_http_requests_total{method=\"GET\",route=\"other\",status=\"404\"}",
        "darkroom_http_request_duration_seconds_bucket{method=\"POST\",route=\"/v1/jobs\",le=\"5\"}",
        "darkroom_job_reads_total",
        "darkroom_job_loads_total",
        "darkroom_jobs_accepted_total",
        "darkroom_http_connections",
    ] {
        assert!(
            text.lines().any(|text| text.starts_with(line)),
            "{line}\n{text}"
        );
    }
    assert!(
        !text.contains(&id.to_string()),
        "there are as many jobs as there are"
    );
}

#[tokio::test]
async fn every_body_has_an_example() {
    let document = fetch(&Api::of(shared())).await;
    let operations = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|path| path.as_object().unwrap().values());
    let mut bodies = BTreeSet::new();
    for operation in operations {
        let responses = operation["responses"].as_object().unwrap().values();
        let contents = responses
            .chain([&operation["requestBody"]])
            .filter_map(|body| body["content"].as_object());
        for content in contents.flat_map(|content| content.values()) {
            bodies.extend(content["schema"]["$ref"].as_str());
        }
    }
    assert!(bodies.len() >= 10, "{bodies:?}");
    for reference in bodies {
        let schema = document.pointer(reference.trim_start_matches('#')).unwrap();
        assert!(schema["example"].is_object(), "{reference}");
    }
}
