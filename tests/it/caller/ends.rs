//! Exit codes of commands, also after errors, signals and lost answers.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use darkroom_client::types::{
    job_id::JobId,
    resource::Job,
    status::{JobStatus, Stage},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Outcome, darkroom, dev, run};
use crate::support::{
    api::Api,
    harness::{api_key_entry, options_with, shared, start, until},
    processes::signal_id,
};

/// Arguments of `darkroom run`, and the outcome that they lead to.
struct Case<'a> {
    arguments: &'a [&'a str],
    exit_code: i32,
    /// Part of the standard error.
    message: &'a str,
}

#[test]
fn the_exit_code_depends_on_the_end_of_the_job() {
    let small = dev(r#"{"bytes": 1024}"#);
    let partial = dev(r#"{"bytes": 1024, "missing": [1]}"#);
    let failed = dev(r#"{"fail": "out of memory"}"#);
    let slow = dev(r#"{"latency_ms": 3600000}"#);
    for case in [
        Case {
            arguments: &["-i", &small],
            exit_code: 0,
            message: "completed in ",
        },
        Case {
            arguments: &["-n", "2", "-i", &partial],
            exit_code: 3,
            message: "darkroom jobs retry",
        },
        Case {
            arguments: &["-i", &failed],
            exit_code: 5,
            message: "out of memory",
        },
        Case {
            arguments: &["-i", &slow, "--timeout", "1s"],
            exit_code: 7,
            message: "the job is still running",
        },
        Case {
            arguments: &["-i", &slow, "--detach"],
            exit_code: 0,
            message: "the job continues",
        },
    ] {
        let outcome = run(&[&["run", "acme/photo", "a fox"], case.arguments].concat());
        assert_eq!(outcome.exit_code, case.exit_code, "{outcome:#?}");
        assert!(outcome.stderr.contains(case.message), "{outcome:#?}");
    }
}

#[test]
fn a_retry_that_would_cost_names_the_option_that_allows_it() {
    let failed = dev(r#"{"fail": "out of memory"}"#);
    let failed = run(&[
        "run",
        "acme/photo",
        "a fox",
        "-i",
        &failed,
        "--output",
        "json",
    ]);
    let job: Job = serde_json::from_str(&failed.stdout).unwrap();
    let retried = run(&["jobs", "retry", &job.job_id.to_string()]);
    assert_eq!(retried.exit_code, 1, "{retried:#?}");
    let command = format!("darkroom jobs retry {} --regenerate", job.job_id);
    assert!(retried.stderr.contains(&command), "{retried:#?}");
}

#[test]
fn watch_ends_when_another_command_cancels_the_job() {
    let slow = dev(r#"{"latency_ms": 3600000}"#);
    let accepted = run(&["run", "acme/photo", "a fox", "-i", &slow, "--detach"]);
    let id = accepted.stdout.trim();
    let watching = darkroom(&shared().api_url(), &["jobs", "watch", id])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let canceled = run(&["jobs", "cancel", id]);
    assert_eq!(canceled.exit_code, 0, "{canceled:#?}");
    assert!(canceled.stderr.contains("canceled"), "{canceled:#?}");
    let watched = Outcome::of(watching.wait_with_output().unwrap());
    assert_eq!(watched.exit_code, 6, "{watched:#?}");
    let again = run(&["jobs", "cancel", id]);
    assert_eq!(again.exit_code, 1, "it has ended: {again:#?}");
    assert_eq!(run(&["jobs", "watch", id]).exit_code, 6);
}

#[test]
fn invalid_arguments_are_usage_errors() {
    for (arguments, message) in [
        (vec![], "Usage"),
        (vec!["no-slash", "a fox"], "owner/name"),
        (vec!["acme/photo"], "a prompt, or an input"),
        (
            vec!["acme/photo", "a fox", "-n", "0"],
            "num_outputs: must be 1 to 100",
        ),
        (
            vec!["acme/photo", "a fox", "-i", "seed:=1"],
            "input.seed: has a field of its own",
        ),
        (vec!["acme/photo", "a fox", "-i", "x"], "key=text"),
        (
            vec!["acme/photo", "a fox", "--save", "{job}.png"],
            "{index}",
        ),
        (
            vec!["acme/photo", "a fox", "--timeout", "soon"],
            "such as 90s",
        ),
        (
            vec!["acme/photo", "a fox", "--format", "bmp"],
            "output_format: unknown variant",
        ),
    ] {
        let outcome = run(&[&["run"], arguments.as_slice()].concat());
        assert_eq!(outcome.exit_code, 2, "{outcome:#?}");
        assert!(outcome.stderr.contains(message), "{message}: {outcome:#?}");
    }
}

#[test]
fn an_unreachable_api_is_an_error_of_one_line() {
    let outcome = Outcome::of(
        darkroom("http://127.0.0.1:1", &["jobs", "list"])
            .output()
            .unwrap(),
    );
    assert_eq!(outcome.exit_code, 1, "{outcome:#?}");
    assert!(
        outcome.stderr.contains("cannot reach http://127.0.0.1:1/"),
        "{outcome:#?}"
    );
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_key_and_a_job_in_doubt_have_exit_codes() {
    let key = "dk_of-the-caller";
    let entry = format!("{}:admin", api_key_entry("acme", key));
    let variables = [
        ("DARKROOM_API_KEYS", entry.as_str()),
        ("SUBMISSION_SEARCH_SECONDS", "1"),
    ];
    let stack = start(&options_with("caller", &variables)).await;
    let url = stack.api_url();
    let lost =
        dev(r#"{"drop_answer": true, "hidden": true, "webhooks": 0, "latency_ms": 3600000}"#);
    let request = ["run", "acme/photo", "a fox", "-i", &lost];

    let refused = Outcome::of(darkroom(&url, &request).output().unwrap());
    assert_eq!(refused.exit_code, 4, "{refused:#?}");
    let wrong = darkroom(&url, &request)
        .env("DARKROOM_API_KEY", "dk_of-nobody")
        .output();
    assert_eq!(wrong.unwrap().status.code(), Some(4));

    let in_doubt = darkroom(&url, &request)
        .env("DARKROOM_API_KEY", key)
        .output();
    let in_doubt = Outcome::of(in_doubt.unwrap());
    assert_eq!(in_doubt.exit_code, 8, "{in_doubt:#?}");
}

#[tokio::test]
async fn ctrl_c_leaves_the_job_running_and_prints_how_to_resume() {
    let api = Api::of(shared());
    let slow = dev(r#"{"latency_ms": 3600000}"#);
    let mut child = darkroom(&api.url, &["run", "acme/photo", "a fox", "-i", &slow])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let accepted = lines.next().unwrap().unwrap();
    let id: JobId = accepted.split(' ').nth(1).unwrap().parse().unwrap();
    api.until_stage(&id, Stage::Generating).await;
    signal_id(child.id(), "INT");
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let hint = format!("the job is still running: darkroom jobs watch {id}");
    assert!(rest.contains(&hint), "{rest:#?}");
    assert_eq!(api.get(&id).await.status, JobStatus::Processing);
}

/// Starts a TCP proxy before the api that loses the first answer. Returns its URL and the number of
/// connections so far.
async fn start_lossy_proxy(api: &str) -> (String, Arc<AtomicU32>) {
    let upstream = api.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            let mut server = TcpStream::connect(&upstream).await.unwrap();
            tokio::spawn(async move {
                if number > 0 {
                    let _ = tokio::io::copy_bidirectional(&mut caller, &mut server).await;
                    return;
                }
                let mut request = vec![0; 64 * 1024];
                let length = caller.read(&mut request).await.unwrap();
                server.write_all(&request[..length]).await.unwrap();
                // The api has processed the request; its answer is dropped.
                server.read_exact(&mut [0; 12]).await.unwrap();
            });
        }
    });
    (url, connections)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_leads_to_the_same_job() {
    let api = Api::of(shared());
    let (url, connections) = start_lossy_proxy(&api.url).await;
    let small = dev(r#"{"bytes": 1024}"#);
    let label = format!("call={}", uuid::Uuid::new_v4());
    let request = [
        "run",
        "acme/photo",
        "asked for once",
        "-i",
        &small,
        "--metadata",
        &label,
        "-o",
        "json",
    ];
    let outcome = Outcome::of(darkroom(&url, &request).output().unwrap());
    assert_eq!(outcome.exit_code, 0, "{outcome:#?}");
    assert!(connections.load(Ordering::Relaxed) >= 2);
    let job: Job = serde_json::from_value(outcome.json()).unwrap();
    assert_eq!(job.status, JobStatus::Completed);
    let labelled = async || {
        let mut ids = Vec::new();
        for listed in api.list().await {
            let listed = api.get(&listed.job_id).await;
            if listed.metadata == job.metadata {
                ids.push(listed.job_id);
            }
        }
        (!ids.is_empty()).then_some(ids)
    };
    assert_eq!(until("job in the list", labelled).await, [job.job_id]);
}
