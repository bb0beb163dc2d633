//! The client commands of `darkroom`, run as processes by a person or by a script.
//!
//! - [`ends`]: exit codes
//! - [`terminal`]: output formats, terminals and pipes, shell completion
//! - [`saving`]: outputs as files
//! - [`managing`]: jobs, API keys and profiles

mod ends;
mod managing;
mod saving;
mod terminal;

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::harness::{BINARY, fresh_directory, shared};

/// A `darkroom` command with an empty environment and home: no profile and no API key.
fn darkroom(api: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(arguments)
        .env_clear()
        .env("HOME", fresh_home())
        .env("DARKROOM_URL", api)
        .stdin(Stdio::null());
    command
}

/// A home directory that stays empty.
fn fresh_home() -> &'static Path {
    static HOME: std::sync::LazyLock<std::path::PathBuf> = std::sync::LazyLock::new(|| {
        let home = fresh_directory("no-home");
        std::fs::create_dir_all(&home).unwrap();
        home
    });
    &HOME
}

/// Runs a command against the shared stack and returns its outcome.
fn run(arguments: &[&str]) -> Outcome {
    Outcome::of(darkroom(&shared().api_url(), arguments).output().unwrap())
}

/// Runs a command with this standard input and returns its outcome.
fn run_with_input(mut command: Command, input: &str) -> Outcome {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    Outcome::of(child.wait_with_output().unwrap())
}

/// Exit code and output of a command.
#[derive(Debug)]
struct Outcome {
    exit_code: i32,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn of(output: Output) -> Self {
        Self {
            exit_code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// Argument for `-i` that passes a script to the embedded provider.
fn dev(script: &str) -> String {
    format!("dev:={script}")
}
