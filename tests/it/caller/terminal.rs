//! Output formats, terminals and pipes, shell completion, and the manual page.

use std::process::Command;

use serde_json::Value;

use super::{Outcome, darkroom, dev, run, run_with_input};
use crate::support::harness::{BINARY, shared};

#[test]
fn json_is_one_document_and_jsonl_is_a_line_per_state() {
    let slow = dev(r#"{"bytes": 1024, "latency_ms": 1500}"#);
    let request = ["run", "acme/photo", "a fox", "-i", &slow, "-o"];
    let json = run(&[request.as_slice(), &["json"]].concat());
    assert_eq!(json.json()["status"], "completed");
    let jsonl = run(&[request.as_slice(), &["jsonl"]].concat());
    let states: Vec<Value> = jsonl
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(states.len() >= 2, "{jsonl:#?}");
    assert_eq!(states.last().unwrap()["status"], "completed");
    let is_of_one = |state: &Value| state["job_id"] == states[0]["job_id"];
    assert!(states.iter().all(is_of_one));
}

#[test]
fn without_a_terminal_there_are_no_colors_and_no_redrawn_lines() {
    let slow = dev(r#"{"bytes": 1024, "latency_ms": 5000}"#);
    let check = |color: Option<&str>| {
        let mut command = darkroom(
            &shared().api_url(),
            &["run", "acme/photo", "a fox", "-i", &slow],
        );
        if let Some(name) = color {
            command.env(name, "1");
        }
        let outcome = Outcome::of(command.output().unwrap());
        assert!(
            !outcome.stdout.contains('\u{1b}') && !outcome.stderr.contains(['\u{1b}', '\r']),
            "{outcome:#?}"
        );
        assert!(outcome.stderr.contains("generating"), "{outcome:#?}");
    };
    std::thread::scope(|scope| {
        for color in [None, Some("NO_COLOR"), Some("CLICOLOR")] {
            scope.spawn(move || check(color));
        }
    });
}

#[test]
fn a_prompt_can_be_piped() {
    let request = ["run", "acme/photo", "-", "-o", "json"];
    let command = darkroom(&shared().api_url(), &request);
    let outcome = run_with_input(command, "a fox,\nin the snow\n");
    assert_eq!(outcome.json()["prompt"], "a fox,\nin the snow");
}

#[test]
fn shells_and_the_manual_know_the_commands() {
    for (shell, mark) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef darkroom"),
        ("fish", "complete -c darkroom"),
    ] {
        let script = run(&["completion", shell]);
        assert_eq!(script.exit_code, 0);
        for word in [mark, "idempotency-key", "webhooks"] {
            assert!(script.stdout.contains(word), "{shell}: {word}");
        }
    }
    let script = run(&["completion", "bash"]).stdout;
    let checked = Command::new("bash").args(["-n", "-c", &script]).status();
    assert!(checked.unwrap().success());
    let manual = run(&["man"]);
    assert!(manual.stdout.contains(".TH darkroom"), "{manual:#?}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let url = shared().api_url();
    let script =
        format!("{BINARY} completion bash | head -1 && {BINARY} jobs list --url {url} | true");
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
