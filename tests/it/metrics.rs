//! Metrics: every metric that dashboards and alerts use is exported, with the expected values.

use std::{collections::BTreeSet, fs, path::Path};

use darkroom_client::types::{resource::Job, status::JobStatus};
use serde_json::json;
use temporalio_client::{UntypedWorkflow, WorkflowStartOptions};
use temporalio_common::data_converters::RawValue;

use crate::support::{
    api::Api,
    harness::{change_script, job, options_with, report, start, until},
    processes::metrics_address,
};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Every metric in the dashboard and in the alerts is exported.
#[tokio::test]
async fn metrics_of_dashboards_and_alerts_are_exported() {
    let options = options_with("metrics", &[("METRICS_LISTEN", "127.0.0.1:0")]);
    let stack = start(&options).await;
    let api = Api::of(&stack);
    // Without provider webhooks: one that comes while the job ends would have the manifest written,
    // and counted, again.
    let mut partial = job(3, json!({"missing": [1], "webhooks": 0}));
    partial["webhook_url"] = "http://127.0.0.1:1/".into();
    api.run(&partial).await;
    let waited = api
        .http
        .post(format!("{}/v1/jobs", api.url))
        .header("Prefer", "wait=60");
    let failed: Job = waited
        .json(&job(1, json!({"fail": "no", "webhooks": 0})))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(failed.status, JobStatus::Failed);
    for process in ["worker", "api"] {
        for path in ["healthz", "readyz"] {
            let url = format!(
                "http://{}/{path}",
                metrics_address(&options.directory, process)
            );
            assert_eq!(
                api.http.get(url).send().await.unwrap().status(),
                200,
                "{process} {path}"
            );
        }
    }
    let exported = async || {
        let mut all = String::new();
        for process in ["worker", "api"] {
            let address = metrics_address(&options.directory, process);
            let answer = api
                .http
                .get(format!("http://{address}/metrics"))
                .send()
                .await
                .unwrap();
            all += &answer.text().await.unwrap();
        }
        all
    };
    let client = stack.temporal.client().await.unwrap();
    let stuck = WorkflowStartOptions::new("media-generation", "stuck").build();
    client
        .start_workflow(UntypedWorkflow::new("Unknown"), RawValue::default(), stuck)
        .await
        .unwrap();
    let consumers =
        read("deploy/prometheus/alerts.yml") + &read("deploy/grafana/dashboards/darkroom.json");
    let names: BTreeSet<_> = consumers
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| {
            ["darkroom_", "temporal_", "process_"]
                .iter()
                .any(|of| word.starts_with(of))
        })
        .map(|word| word.trim_end_matches("_bucket").trim_end_matches("_count"))
        // Temporal is still up at this point, so no request has failed yet.
        .filter(|name| !name.ends_with("request_failure"))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    // Webhooks are delivered and open jobs are counted in the background.
    until("all metrics that are used", async || {
        let exported = exported().await;
        let types: BTreeSet<_> = exported
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        let missing: Vec<_> = names.iter().filter(|name| !types.contains(*name)).collect();
        if !missing.is_empty() {
            report(&format!("not exported yet: {missing:?}"));
        }
        missing.is_empty().then_some(())
    })
    .await;
    let all = exported().await;
    for line in [
        r#"darkroom_jobs_ended_total{status="partial"} 1"#,
        r#"darkroom_jobs_ended_total{status="failed"} 1"#,
        r#"darkroom_job_failures_total{type="GenerationFailed"} 1"#,
        r#"darkroom_outputs_total{outcome="stored"} 2"#,
        "darkroom_output_bytes_total 2048",
        r#"darkroom_provider_calls_total{operation="submit",outcome="ok"} 2"#,
        "darkroom_jobs_accepted_total 2",
    ] {
        assert!(
            all.lines().any(|other| other == line),
            "{line}\nis not among\n{all}"
        );
    }
    stack.temporal.kill();
    until("calls that failed", async || {
        let exported = exported().await;
        let is_failure = |line: &str| {
            line.starts_with("temporal_long_request_failure{")
                && line.contains("\"TRANSPORT_ERROR\"")
        };
        exported.lines().any(is_failure).then_some(())
    })
    .await;
    let address = metrics_address(&options.directory, "worker");
    until("a worker that says that it is not ready", async || {
        let answer = api
            .http
            .get(format!("http://{address}/readyz"))
            .send()
            .await
            .unwrap();
        (answer.status() == 503 && answer.text().await.unwrap() == "Temporal cannot be reached\n")
            .then_some(())
    })
    .await;
}

/// A retry that fetches outputs pays nothing, and one that makes them again does.
#[tokio::test]
async fn the_cost_of_a_prediction_is_counted_once() {
    let options = options_with("metrics-cost", &[("METRICS_LISTEN", "127.0.0.1:0")]);
    let stack = start(&options).await;
    let api = Api::of(&stack);
    let address = metrics_address(&options.directory, "worker");
    let counted = async || -> u64 {
        let metrics = api.http.get(format!("http://{address}/metrics"));
        let metrics = metrics.send().await.unwrap().text().await.unwrap();
        let is_cost = |line: &&str| line.starts_with("darkroom_provider_predict_seconds_total{");
        let costs = metrics.lines().filter(is_cost);
        costs
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    };
    let script = json!({"missing": [0], "latency_ms": 1500, "webhooks": 0});
    let failed = api.run(&job(1, script.clone())).await;
    assert_eq!(failed.status, JobStatus::Failed);
    let cost = counted().await;
    assert!(cost > 0);
    let id = &failed.job_id;
    change_script(stack.provider.as_ref(), id, &json!({"missing": []}));
    api.act(id, "retry").await;
    assert_eq!(api.ended(id).await.status, JobStatus::Completed);
    assert_eq!(counted().await, cost);

    let partial = api.run(&job(2, script)).await;
    assert_eq!(partial.status, JobStatus::Partial);
    let cost = counted().await;
    let id = &partial.job_id;
    api.retry(id, None, &json!({"regenerate": true})).await;
    api.ended(id).await;
    assert!(counted().await > cost);
}
