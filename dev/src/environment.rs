//! Environment of worker and api processes. Variables of the current environment that configure
//! Darkroom are removed first, as they belong to another stack; those of Replicate stay where it is
//! used.

use std::process::Command;

use anyhow::Result;

use super::{
    Options, ProviderChoice, log_directory,
    process::Process,
    provider::{self, ProviderServer},
};

/// Starts a `worker` or `api` process under a name of its own. Variables of the options override
/// `variables`.
pub(super) fn spawn(
    name: &str,
    subcommand: &str,
    variables: &[(&'static str, String)],
    options: &Options,
) -> Result<Process> {
    let command = Command::new(&options.binary);
    spawn_as(command, name, subcommand, variables, options)
}

/// Starts such a process with less of the CPU than others where it is short, as `nice` has it.
pub(super) fn spawn_nice(
    niceness: u8,
    name: &str,
    subcommand: &str,
    variables: &[(&'static str, String)],
    options: &Options,
) -> Result<Process> {
    let mut command = Command::new("nice");
    command.arg(format!("-n{niceness}")).arg(&options.binary);
    spawn_as(command, name, subcommand, variables, options)
}

fn spawn_as(
    mut command: Command,
    name: &str,
    subcommand: &str,
    variables: &[(&'static str, String)],
    options: &Options,
) -> Result<Process> {
    command.args([subcommand, "--stop-with-stdin"]);
    let uses_replicate = matches!(options.provider, ProviderChoice::Replicate);
    for (name, _) in std::env::vars() {
        let is_of_provider = name.starts_with("REPLICATE_");
        if is_of_a_stack(&name) || (is_of_provider && !uses_replicate) {
            command.env_remove(name);
        }
    }
    let variables = variables.iter().chain(&options.variables);
    command.envs(variables.map(|(name, value)| (name, value)));
    Process::spawn(name, command, &log_directory(&options.directory))
}

/// Variables that connect worker and api to the embedded provider.
pub(super) fn of_provider(provider: &ProviderServer) -> [(&'static str, String); 4] {
    [
        ("REPLICATE_BASE_URL", provider.base_url.clone()),
        ("REPLICATE_API_TOKEN", provider::TOKEN.to_owned()),
        (
            "REPLICATE_WEBHOOK_SECRET",
            provider::WEBHOOK_SECRET.to_owned(),
        ),
        ("SOURCE_ALLOW", provider.address.to_string()),
    ]
}

fn is_of_a_stack(name: &str) -> bool {
    const OURS: [&str; 14] = [
        "AWS_",
        "DARKROOM_",
        "GENERATE_",
        "LONGEST_",
        "MAX_OUTPUT_",
        "METRICS_",
        "PERSIST_",
        "S3_",
        "SOURCE_",
        "SUBMISSION_",
        "TEMPORAL_",
        "WEBHOOK_",
        "WORKER_",
        "WORKFLOW_",
    ];
    OURS.iter().any(|of| name.starts_with(of))
}
