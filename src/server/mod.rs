//! The operator's commands: the worker and the api as processes, and maintenance from a terminal.
//!
//! - `variables`: the table of environment variables

mod variables;

use std::{io::Write, process::ExitCode};

use anyhow::{Context, Result};
use clap::Subcommand;
use darkroom_telemetry::Telemetry;
use darkroom_workflows::tenant::Tenant;
use tokio_util::sync::CancellationToken;

use crate::{runtime, stop_signal};

/// The operator's commands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a Temporal worker, configured by environment variables.
    Worker(Service),
    /// Run the HTTP facade, configured by environment variables.
    Api(Service),
    /// Fetch and replay workflow histories, to check before a deploy that new code can continue
    /// open workflows.
    #[command(subcommand)]
    History(History),
    /// Delete all jobs of a tenant: media, manifests, and Temporal's records of them. This cannot
    /// be undone. Waits until everything is deleted, which needs a running worker.
    Purge {
        /// The tenant, as named in `DARKROOM_API_KEYS`.
        #[arg(long)]
        tenant: Tenant,
        /// Confirm the deletion. Without this flag, nothing is deleted.
        #[arg(long)]
        yes: bool,
    },
    /// Print every environment variable that worker and api read, with its default.
    Variables {
        /// Output format.
        #[arg(long, value_enum, default_value_t)]
        format: variables::Format,
    },
    /// Check whether a process is ready. For health checks in images without another HTTP client.
    Probe {
        /// The readiness URL, such as `http://127.0.0.1:9464/readyz`.
        url: reqwest::Url,
    },
}

#[derive(Subcommand)]
pub(crate) enum History {
    /// Print the history of a workflow as JSON, fetched from the Temporal server that `TEMPORAL_*`
    /// names.
    Fetch {
        /// The workflow id. For a job, it is the job id.
        workflow_id: String,
    },
    /// Replay histories with the workflow code of this binary.
    Replay {
        /// Files with the output of `fetch`.
        #[arg(required = true)]
        files: Vec<std::path::PathBuf>,
    },
}

#[derive(clap::Args)]
pub(crate) struct Service {
    /// Stop when standard input closes, which means that the parent process is gone.
    #[cfg(feature = "dev")]
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// Runs the command.
pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Worker(service) => serve(&service, "darkroom-worker", async |shutdown| {
            let config = darkroom_worker::Config::from_env().await?;
            darkroom_worker::run(config, shutdown).await
        }),
        Command::Api(service) => serve(&service, "darkroom-api", async |shutdown| {
            darkroom_api::Bound::bind(darkroom_api::Config::from_env().await?)?
                .run(shutdown)
                .await
        }),
        Command::History(History::Fetch { workflow_id }) => runtime()?.block_on(async {
            let history = darkroom_worker::history::fetch(&workflow_id).await?;
            std::io::stdout().write_all(history.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::History(History::Replay { files }) => runtime()?.block_on(replay(&files)),
        Command::Purge { tenant, yes } => runtime()?.block_on(async {
            anyhow::ensure!(
                yes,
                "this deletes all jobs of {tenant}, for good; add --yes"
            );
            let deleted = darkroom_worker::purge::purge(&tenant).await?;
            writeln!(std::io::stdout(), "{deleted} jobs of {tenant} deleted")?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::Variables { format } => {
            std::io::stdout().write_all(variables::print(format).as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Probe { url } => runtime()?.block_on(probe(url)),
    }
}

async fn replay(files: &[std::path::PathBuf]) -> Result<ExitCode> {
    let mut failed = 0;
    for file in files {
        let shown = file.display();
        let history = std::fs::read(file).with_context(|| format!("cannot read {shown}"))?;
        let outcome = match darkroom_worker::history::replay(&history).await {
            Ok(()) => "replays".to_owned(),
            Err(error) => {
                failed += 1;
                format!("{error:#}")
            }
        };
        writeln!(std::io::stdout(), "{shown}: {outcome}")?;
    }
    anyhow::ensure!(
        failed == 0,
        "{failed} of {} histories do not replay with this build",
        files.len()
    );
    Ok(ExitCode::SUCCESS)
}

async fn probe(url: reqwest::Url) -> Result<ExitCode> {
    const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(4);
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(TIMEOUT)
        .build()?;
    let answer = http.get(url.clone()).send().await?;
    let status = answer.status();
    anyhow::ensure!(
        status.is_success(),
        "{url} answers {status}: {}",
        answer.text().await?.trim()
    );
    Ok(ExitCode::SUCCESS)
}

fn serve(
    service: &Service,
    name: &'static str,
    run: impl AsyncFnOnce(CancellationToken) -> Result<()>,
) -> Result<ExitCode> {
    // Dropped after the runtime: telemetry that is still buffered is flushed then.
    let _telemetry = Telemetry::start(name)?;
    let shutdown = CancellationToken::new();
    #[cfg(feature = "dev")]
    if service.stop_with_stdin {
        stop_with_stdin(shutdown.clone());
    }
    #[cfg(not(feature = "dev"))]
    let Service {} = service;
    runtime()?.block_on(async {
        tokio::spawn(cancel_on_signal(shutdown.clone()));
        run(shutdown).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Begins a graceful shutdown when standard input closes, and exits after three seconds at the
/// latest. The parent process is gone then, and so are the servers that this process depends on.
#[cfg(feature = "dev")]
fn stop_with_stdin(shutdown: CancellationToken) {
    const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3);
    darkroom_dev::process::when_stdin_closes(move || {
        shutdown.cancel();
        std::thread::sleep(TIMEOUT);
        std::process::exit(0);
    });
}

async fn cancel_on_signal(shutdown: CancellationToken) {
    stop_signal().await;
    tracing::info!("stopping");
    shutdown.cancel();
}
