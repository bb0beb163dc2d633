//! Histories of released versions still replay: what a workflow did once, it must do again for ever.

use std::path::{Path, PathBuf};

use darkroom_workflows::MediaGeneration;
use serde_json::{Value, json};
use temporalio_client::{WorkflowFetchHistoryOptions, WorkflowHistory};
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};

use crate::harness::{Api, job, shared};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories")
}

fn replayer() -> WorkflowReplayer {
    let options = WorkflowReplayerOptions::new().register_workflow::<MediaGeneration>().unwrap().build();
    WorkflowReplayer::new(options).unwrap()
}

#[tokio::test]
async fn every_recorded_history_replays() {
    let mut replayed = 0;
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let history = WorkflowHistory::from_json(&std::fs::read(&path).unwrap()).unwrap();
        let result = replayer().replay_workflow(history).await;
        assert!(result.is_ok(), "{}: {result:?}", path.display());
        replayed += 1;
    }
    assert!(replayed >= 3, "histories are missing: only {replayed} are there");
}

#[tokio::test]
async fn a_history_of_another_workflow_does_not_replay() {
    let path = directory().join("0.1.0-completed.json");
    let mut history: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let renamed = history.to_string().replace("\"persist\"", "\"preserve\"");
    history = serde_json::from_str(&renamed).unwrap();
    let history = WorkflowHistory::from_json(history.to_string().as_bytes()).unwrap();
    assert!(replayer().replay_workflow(history).await.is_err());
}

/// Records a history of each kind from real runs, under the version at hand. Run it before a release:
/// `cargo test --test it -- --ignored record_histories`.
#[tokio::test]
#[ignore = "writes tests/histories"]
async fn record_histories() {
    let api = Api::of(shared());
    let client = shared().temporal.client().await.unwrap();
    for (name, request) in [
        ("completed", job(3, json!({}))),
        ("partial", job(3, json!({"missing": [1]}))),
        ("generation-failed", job(3, json!({"fail": "the model gave up"}))),
    ] {
        let ended = api.run(&request).await;
        let handle = client.get_workflow_handle::<MediaGeneration>(ended["job_id"].as_str().unwrap());
        let history = handle.fetch_history(WorkflowFetchHistoryOptions::default()).to_json().await.unwrap();
        let pretty: Value = serde_json::from_slice(&history).unwrap();
        let path = directory().join(format!("{}-{name}.json", env!("CARGO_PKG_VERSION")));
        std::fs::write(path, format!("{pretty:#}\n")).unwrap();
    }
}
