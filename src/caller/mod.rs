//! The caller's commands. They use the public HTTP API alone, through the client, and never reach
//! Temporal or the store directly.
//!
//! - [`mod@run`]: `darkroom run`, a job from its request to its files
//! - [`jobs`], [`keys`], [`request`], [`profile`]: the other commands
//! - [`connection`]: the api's URL and key, by arguments, environment or profile
//! - [`input`]: fields typed as `key=value`
//! - [`follow`], [`files`]: following a job, and saving its outputs
//! - [`live`], [`picture`], [`show`]: progress, pictures and printed data
//! - [`exit`]: exit codes

pub(crate) mod connection;
mod exit;
mod files;
mod follow;
mod input;
mod jobs;
mod keys;
mod live;
pub(crate) mod picture;
mod profile;
mod request;
mod run;
mod show;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

pub(crate) use self::exit::Exit;

/// The caller's commands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Generate media: create a job, follow it to its end, and save or show its outputs.
    Run(run::Arguments),
    /// List, follow, cancel, retry, save and delete jobs.
    Jobs(jobs::Arguments),
    /// Create, list and revoke API keys; needs a key with the scope `admin`.
    Keys(keys::Arguments),
    /// Send any request to the api, with your key.
    Request(request::Arguments),
    /// Manage profiles: names for the URL and the key of an api.
    #[command(subcommand)]
    Profile(profile::Command),
}

/// Runs the command.
pub(crate) async fn run(command: Command) -> Result<ExitCode> {
    let exit = match command {
        Command::Run(arguments) => run::run(arguments).await,
        Command::Jobs(arguments) => jobs::run(arguments).await,
        Command::Keys(arguments) => keys::run(arguments).await,
        Command::Request(arguments) => request::run(arguments).await,
        Command::Profile(command) => profile::run(command),
    }?;
    Ok(exit.into())
}
