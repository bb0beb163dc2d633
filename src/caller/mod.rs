//! What a caller does from a terminal or a script: everything by the public API, by the client,
//! with no word to Temporal or the store.
//!
//! - [`run`]: a job from its request to its files
//! - [`jobs`], [`keys`], [`request`]: what there is already
//! - [`profile`], [`connection`]: which api, and as whom
//! - [`exit`]: what a script is told
//! - [`live`], [`picture`], [`show`]: what a person sees

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
    /// Have media made: ask for a job, follow it to its end, and save or show what came of it.
    Run(run::Arguments),
    /// List, follow, cancel, retry, save and delete jobs.
    Jobs(jobs::Arguments),
    /// Give out, list and revoke API keys; for keys with the scope `admin`.
    Keys(keys::Arguments),
    /// Send any request to the api, with your key.
    Request(request::Arguments),
    /// Remember which api to call, and as whom.
    #[command(subcommand)]
    Profile(profile::Command),
}

/// Does what is asked for.
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
