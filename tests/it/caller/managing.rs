//! Commands that manage jobs, API keys and profiles.

use std::{os::unix::fs::PermissionsExt, path::Path};

use serde_json::Value;

use super::{Outcome, darkroom, dev, run, run_with_input};
use crate::support::harness::{api_key_entry, fresh_directory, options_with, start};

/// Creates a job and returns its id.
fn accepted(script: &str) -> String {
    let script = dev(script);
    run(&[
        "run",
        "acme/photo",
        "managed",
        "-n",
        "2",
        "-i",
        &script,
        "--detach",
    ])
    .stdout
    .trim()
    .to_owned()
}

#[test]
fn jobs_are_listed_read_retried_and_deleted() {
    let id = accepted(r#"{"bytes": 1024, "missing": [1]}"#);
    assert_eq!(run(&["jobs", "watch", &id]).exit_code, 3);

    let listed = run(&[
        "jobs",
        "list",
        "--model",
        "acme/photo",
        "--since",
        "1h",
        "--limit",
        "100",
        "-o",
        "jsonl",
    ]);
    let lines = listed
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(
        lines.into_iter().any(|job| job["job_id"] == id.clone()),
        "{id}"
    );
    let table = run(&["jobs", "list", "--limit", "1"]);
    assert_eq!(table.stdout.trim_end().split('\t').count(), 6, "{table:#?}");
    let text = run(&["jobs", "get", &id]);
    assert!(
        text.stdout.contains("managed") && text.stdout.contains("output 1"),
        "{text:#?}"
    );

    let canceled = run(&["jobs", "cancel", &id]);
    assert_eq!(canceled.exit_code, 1, "it has ended: {canceled:#?}");
    let retried = run(&["jobs", "retry", &id]);
    assert_eq!(retried.exit_code, 3, "it is missing still: {retried:#?}");
    assert_eq!(
        run(&["jobs", "webhooks", &id]).json()["deliveries"],
        Value::Array(vec![])
    );

    let unasked = run(&["jobs", "delete", &id]);
    assert_eq!(unasked.exit_code, 1, "{unasked:#?}");
    assert!(unasked.stderr.contains("add --yes"), "{unasked:#?}");
    let deleted = run(&["jobs", "delete", "--yes", &id]);
    assert_eq!(deleted.exit_code, 0, "{deleted:#?}");
    assert_eq!(run(&["jobs", "get", &id]).exit_code, 1);
}

#[test]
fn requests_and_answers_pass_unchanged() {
    let request = [
        "request",
        "POST",
        "/v1/jobs",
        "-f",
        "model=acme/photo",
        "-f",
        "prompt=asked",
        "-f",
        "num_outputs:=2",
    ];
    let created = run(&request);
    assert_eq!(created.exit_code, 0, "{created:#?}");
    assert_eq!(created.json()["num_outputs"], 2);
    let listed = run(&["request", "GET", "/v1/jobs", "-f", "limit=1"]);
    assert_eq!(listed.json()["jobs"].as_array().unwrap().len(), 1);
    let missing = run(&["request", "GET", "/v1/nothing"]);
    assert_eq!(missing.exit_code, 1);
    assert_eq!(missing.json()["status"], 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_created_and_profiles_store_them() {
    let admin = "dk_of-the-admin";
    let entry = format!("{}:admin", api_key_entry("acme", admin));
    let options = options_with("caller-keys", &[("DARKROOM_API_KEYS", &entry)]);
    let stack = start(&options).await;
    let url = stack.api_url();
    let home = fresh_directory("caller-home");
    std::fs::create_dir_all(&home).unwrap();
    let as_admin = |arguments: &[&str]| {
        let mut command = darkroom(&url, arguments);
        Outcome::of(command.env("DARKROOM_API_KEY", admin).output().unwrap())
    };

    let created = as_admin(&[
        "keys", "create", "web shop", "--scopes", "read", "--model", "acme/*",
    ]);
    assert_eq!(created.exit_code, 0, "{created:#?}");
    let key = created.stdout.trim();
    assert!(key.starts_with("dk_acme."), "{created:#?}");

    let in_home = |arguments: &[&str], input: &str| with_profiles(&home, arguments, input);
    assert_eq!(
        in_home(&["profile", "get"], "").exit_code,
        1,
        "there is none"
    );
    let set = in_home(
        &["profile", "set", "shop", "--url", &url, "--api-key-stdin"],
        key,
    );
    assert_eq!(set.exit_code, 0, "{set:#?}");
    let file = home.join(".config/darkroom/profiles.toml");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let shown = in_home(&["profile", "get"], "");
    assert!(
        shown.stdout.contains(&url) && !shown.stdout.contains(key),
        "{shown:#?}"
    );

    let listed = in_home(&["jobs", "list"], "");
    assert_eq!(listed.exit_code, 0, "{listed:#?}");
    let forbidden = in_home(&["run", "acme/photo", "a fox"], "");
    assert_eq!(forbidden.exit_code, 4, "the key reads: {forbidden:#?}");
    let elsewhere = in_home(
        &[
            "jobs",
            "list",
            "--url",
            &url.replace("127.0.0.1", "localhost"),
        ],
        "",
    );
    assert_eq!(
        elsewhere.exit_code, 4,
        "its key goes to its own api alone: {elsewhere:#?}"
    );

    in_home(
        &["profile", "set", "other", "--url", "http://127.0.0.1:1"],
        "",
    );
    assert!(in_home(&["profile", "list"], "").stdout.contains("* shop"));
    assert_eq!(in_home(&["profile", "use", "other"], "").exit_code, 0);
    assert!(in_home(&["profile", "list"], "").stdout.contains("* other"));
    assert_eq!(
        in_home(&["jobs", "list", "--profile", "shop"], "").exit_code,
        0
    );
    assert_eq!(
        in_home(&["jobs", "list", "--profile", "nobody"], "").exit_code,
        1
    );

    let mut unset = darkroom("", &["jobs", "list"]);
    unset.env("HOME", &home);
    for name in ["DARKROOM_API_KEY", "DARKROOM_PROFILE"] {
        unset.env(name, "");
    }
    assert_eq!(in_home(&["profile", "use", "shop"], "").exit_code, 0);
    let listed = run_with_input(unset, "");
    assert_eq!(listed.exit_code, 0, "empty variables: {listed:#?}");

    let id = as_admin(&["keys", "list", "-o", "json"]).json()["keys"][0]["key_id"].clone();
    assert_eq!(
        as_admin(&["keys", "revoke", id.as_str().unwrap()]).exit_code,
        0
    );
    assert_eq!(
        in_home(&["jobs", "list", "--profile", "shop"], "").exit_code,
        4
    );
}

/// Runs a command with a home directory that holds profiles.
fn with_profiles(home: &Path, arguments: &[&str], input: &str) -> Outcome {
    let mut command = darkroom("", arguments);
    command.env_remove("DARKROOM_URL").env("HOME", home);
    run_with_input(command, input)
}
