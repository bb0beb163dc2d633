//! The command line of `darkroom`: parses arguments, runs one command, and returns its exit code.
//!
//! - `first_look`: the run without a command, on the embedded stack
//! - `caller`: commands that call the HTTP API, for clients and scripts
//! - `server`: the worker and the api as processes, and the operator's commands
//! - `production`: the production stack on this machine, without Docker
//! - `completion`: shell completions and man pages

/// Prints a line to standard output. Ignores errors: a closed pipe must not stop the stack.
#[cfg(feature = "dev")]
macro_rules! print_line {
    ($($arguments:tt)*) => {{
        use ::std::io::Write;
        let _ = ::std::writeln!(::std::io::stdout(), $($arguments)*);
    }};
}

#[cfg(feature = "cli")]
mod caller;
#[cfg(feature = "cli")]
mod completion;
#[cfg(feature = "dev")]
mod first_look;
#[cfg(feature = "dev")]
mod production;
#[cfg(feature = "server")]
mod server;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[cfg(not(any(feature = "server", feature = "cli")))]
compile_error!("there is nothing to do without one of the features `server` and `cli`");

/// Durable media generation on Temporal.
#[derive(Parser)]
#[command(version)]
#[cfg_attr(
    feature = "dev",
    command(
        args_conflicts_with_subcommands = true,
        after_help = "Without a command, starts everything on this machine (Temporal, S3, a provider that renders \
                      pictures, a worker, the api), runs sample jobs through HTTP and stays up until Ctrl-C."
    )
)]
#[cfg_attr(
    not(feature = "dev"),
    command(subcommand_required = true, arg_required_else_help = true)
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[cfg(feature = "dev")]
    #[command(flatten)]
    first_look: first_look::Arguments,
}

#[derive(Subcommand)]
enum Command {
    #[cfg(feature = "cli")]
    #[command(flatten)]
    Caller(caller::Command),
    #[cfg(feature = "cli")]
    #[command(flatten)]
    Completion(completion::Command),
    #[cfg(feature = "server")]
    #[command(flatten)]
    Server(server::Command),
    /// Start the production stack on this machine, without Docker: Temporal on PostgreSQL, an S3
    /// gateway, several workers, the api. For rehearsals and measurements.
    #[cfg(feature = "dev")]
    Production(production::Arguments),
    /// Run a command, and stop it when standard input closes or a signal arrives.
    #[cfg(feature = "dev")]
    #[command(hide = true)]
    Supervise {
        /// The signal that stops the command; without one it is killed.
        #[arg(long)]
        signal: Option<String>,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<std::ffi::OsString>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    // The reader of standard output, such as `head`, has closed the pipe. That is not worth a
    // message.
    let is_unread = error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
    if !is_unread {
        #[expect(
            clippy::print_stderr,
            reason = "the error that ends a command belongs on the terminal"
        )]
        {
            eprintln!("error: {error:#}");
        }
    }
    #[cfg(feature = "cli")]
    return caller::Exit::of_error(error).into();
    #[cfg(not(feature = "cli"))]
    ExitCode::FAILURE
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        #[cfg(feature = "cli")]
        Some(Command::Caller(command)) => runtime()?.block_on(caller::run(command)),
        #[cfg(feature = "cli")]
        Some(Command::Completion(command)) => completion::run::<Cli>(&command),
        #[cfg(feature = "server")]
        Some(Command::Server(command)) => server::run(command),
        #[cfg(feature = "dev")]
        Some(Command::Production(arguments)) => runtime()?.block_on(production::run(arguments)),
        #[cfg(feature = "dev")]
        Some(Command::Supervise { signal, command }) => {
            let (program, arguments) = command
                .split_first()
                .unwrap_or_else(|| unreachable!("clap requires one"));
            let mut command = std::process::Command::new(program);
            command.args(arguments);
            let supervised =
                darkroom_dev::process::supervise(command, signal.as_deref(), stop_signal());
            let code = runtime()?.block_on(supervised)?;
            Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
        }
        #[cfg(feature = "dev")]
        None => runtime()?.block_on(first_look::run(cli.first_look)),
        #[cfg(not(feature = "dev"))]
        None => unreachable!("clap requires one"),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}

/// Waits for Ctrl-C or SIGTERM, which begin a graceful shutdown.
#[cfg(feature = "server")]
async fn stop_signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = interrupt => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot listen for SIGTERM");
                let _ = interrupt.await;
            }
        }
    }
    #[cfg(not(unix))]
    let _ = interrupt.await;
}
