//! The embedded stack: everything that Darkroom needs, as real servers on loopback. Plain `cargo
//! run` starts it, and tests share it. All data are below one directory, so that a stack that was
//! stopped or killed resumes when it is started again.
//!
//! - [`temporal`]: a Temporal dev server, with the CLI found or built by [`temporal_cli`]
//! - [`s3`]: an S3 server in this process; [`versitygw`]: another one, for tests and benchmarks
//! - [`provider`]: a provider that speaks Replicate's API and renders real pictures
//! - [`production`]: the production stack without Docker
//! - [`process`]: child processes that never outlive their parent
//! - `environment`: the variables of worker and api processes
//! - [`ports`]: ports that stay the same across restarts
//! - `cache`: third-party programs, found or built once

pub mod ports;
pub mod process;
pub mod production;
pub mod provider;
pub mod s3;
pub mod temporal;
pub mod temporal_cli;
pub mod versitygw;

mod cache;
mod environment;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use self::{process::Process, provider::ProviderServer, s3::S3Server, temporal::TemporalServer};

/// Secret that the embedded stack signs webhooks with. It protects nothing.
pub const WEBHOOK_SECRET: &str = "whsec_ZGFya3Jvb20gb24gb25lIG1hY2hpbmU=";

/// Options of a stack.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of its data.
    pub directory: PathBuf,
    /// The `darkroom` binary that worker and api are started from.
    pub binary: PathBuf,
    /// True to use the usual ports where they are free; otherwise any free ports.
    pub usual_ports: bool,
    /// True to serve the Temporal UI.
    pub temporal_ui: bool,
    /// Provider that makes the outputs.
    pub provider: ProviderChoice,
    /// Variables of worker and api, which override the stack's own.
    pub variables: Vec<(&'static str, String)>,
}

/// Provider that makes the outputs.
#[derive(Clone, Copy, Debug)]
pub enum ProviderChoice {
    /// The embedded provider.
    Embedded {
        /// Duration of a prediction, unless a request says otherwise.
        latency: Duration,
    },
    /// Replicate itself, which charges for predictions, with the `REPLICATE_*` of this process's
    /// environment.
    Replicate,
}

/// A running stack. Dropping it stops everything.
pub struct Stack {
    /// The Temporal server.
    pub temporal: TemporalServer,
    /// The S3 server.
    pub s3: S3Server,
    /// The embedded provider; absent if Replicate is used.
    pub provider: Option<ProviderServer>,
    /// The worker.
    pub worker: Process,
    /// The api.
    pub api: Process,
    /// Address that the api listens on.
    pub api_address: SocketAddr,
    options: Options,
}

impl Stack {
    /// Starts everything and waits until worker and api are ready. Calls `progress` with a line for
    /// each component.
    ///
    /// # Errors
    /// If a component cannot be started. The message names the component and its log.
    pub async fn start(options: Options, progress: impl Fn(&str)) -> Result<Self> {
        let directory = &options.directory;
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let cli = temporal_cli::locate(&progress).await?;
        let temporal = TemporalServer::start(&cli, &options).await?;
        progress(&format!("Temporal    {}", temporal.address));
        if let Some(ui) = &temporal.ui {
            progress(&format!("Temporal UI {ui}"));
        }
        let s3 = S3Server::start(
            &directory.join("s3"),
            ports::bind(&options, "s3", 9000).await?,
        )?;
        progress(&format!("S3          {}", s3.endpoint));
        let provider = start_provider(&options).await?;
        progress(&match &provider {
            Some(provider) => format!("provider    {}", provider.base_url),
            None => "provider    Replicate, billed (REPLICATE_API_TOKEN is set)".to_owned(),
        });
        let api_address = ports::pick(&options, "api", 8080).await?;
        let variables = variables(&temporal, &s3, provider.as_ref(), api_address);
        let api = environment::spawn("api", "api", &variables, &options)?;
        let worker = environment::spawn("worker", "worker", &variables, &options)?;
        let stack = Self {
            temporal,
            s3,
            provider,
            worker,
            api,
            api_address,
            options,
        };
        stack.until_ready().await?;
        progress("worker      polls both queues");
        progress(&format!("api         {}", stack.api_url()));
        Ok(stack)
    }

    /// The base URL of the api.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}", self.api_address)
    }

    /// Starts another `worker` or `api` process of the binary against this stack. A process of the
    /// same subcommand that it replaces must have ended.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn spawn(&self, subcommand: &'static str) -> Result<Process> {
        environment::spawn(
            subcommand,
            subcommand,
            &self.variables(self.api_address),
            &self.options,
        )
    }

    /// Starts a worker from another binary, under a name of its own and with further variables.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn spawn_worker(
        &self,
        name: &str,
        binary: &Path,
        further: &[(&'static str, String)],
    ) -> Result<Process> {
        let mut options = Options {
            binary: binary.to_owned(),
            ..self.options.clone()
        };
        options.variables.extend_from_slice(further);
        environment::spawn(name, "worker", &self.variables(self.api_address), &options)
    }

    /// Starts a second api beside the first one and waits until it is ready.
    ///
    /// # Errors
    /// If the process cannot be started, ends, or is not ready in time.
    pub async fn spawn_another_api(
        &self,
        variables: &[(&'static str, String)],
    ) -> Result<(Process, SocketAddr)> {
        let (process, address) = self.spawn_api(variables).await?;
        until_ready(
            "second api that is ready",
            &format!("http://{address}"),
            &[&process],
        )
        .await?;
        Ok((process, address))
    }

    /// Starts another api without waiting until it is ready.
    ///
    /// # Errors
    /// If no port is free or the process cannot be started.
    pub async fn spawn_api(
        &self,
        variables: &[(&'static str, String)],
    ) -> Result<(Process, SocketAddr)> {
        let mut options = Options {
            usual_ports: false,
            ..self.options.clone()
        };
        let address = ports::pick(&options, "another-api", 0).await?;
        // Links in responses must be the same, whichever api process makes them.
        options
            .variables
            .push(("DARKROOM_PUBLIC_URL", self.api_url()));
        options.variables.extend_from_slice(variables);
        let process = environment::spawn("another-api", "api", &self.variables(address), &options)?;
        Ok((process, address))
    }

    /// Environment variables of a process that works on this stack.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = self.variables(self.api_address);
        variables.extend_from_slice(&self.options.variables);
        variables
    }

    fn variables(&self, api_address: SocketAddr) -> Vec<(&'static str, String)> {
        variables(
            &self.temporal,
            &self.s3,
            self.provider.as_ref(),
            api_address,
        )
    }

    /// Waits until worker and api are ready.
    ///
    /// # Errors
    /// If a process ends, or they are not ready in time.
    pub async fn until_ready(&self) -> Result<()> {
        until_ready(
            "worker and api that are ready",
            &self.api_url(),
            &[&self.worker, &self.api],
        )
        .await
    }
}

/// Environment variables of worker and api of the embedded stack.
fn variables(
    temporal: &TemporalServer,
    s3: &S3Server,
    provider: Option<&ProviderServer>,
    api_address: SocketAddr,
) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("TEMPORAL_ADDRESS", temporal.address.clone()),
        ("TEMPORAL_NAMESPACE", "default".to_owned()),
        ("AWS_ENDPOINT_URL_S3", s3.endpoint.clone()),
        ("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY.to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("S3_BUCKET", s3::BUCKET.to_owned()),
        ("DARKROOM_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
        ("DARKROOM_LISTEN", api_address.to_string()),
        ("WORKER_HEARTBEAT_SECONDS", "1".to_owned()),
    ];
    variables.extend(
        temporal
            .ui
            .as_ref()
            .map(|ui| ("DARKROOM_TEMPORAL_UI", ui.clone())),
    );
    // Replicate sends reports over https only, and cannot reach loopback.
    if let Some(provider) = provider {
        variables.extend(environment::of_provider(provider));
        variables.push(("DARKROOM_PUBLIC_URL", format!("http://{api_address}")));
    }
    variables
}

/// Starts the embedded provider, unless Replicate is used.
async fn start_provider(options: &Options) -> Result<Option<ProviderServer>> {
    let ProviderChoice::Embedded { latency } = options.provider else {
        return Ok(None);
    };
    let listener = ports::bind(options, "provider", 9100).await?;
    ProviderServer::start(&options.directory.join("provider"), listener, latency).map(Some)
}

/// Timeout of a component's readiness. Generous, because the machine may be busy.
pub(crate) const READY_TIMEOUT: Duration = Duration::from_mins(3);

/// Waits until an api reports that it is ready, workers and the store included.
pub(crate) async fn until_ready(what: &str, api_url: &str, processes: &[&Process]) -> Result<()> {
    let url = format!("{api_url}/readyz?full");
    let http = reqwest::Client::builder().no_proxy().build()?;
    let ready = async || {
        http.get(&url)
            .send()
            .await
            .is_ok_and(|response| response.status().is_success())
    };
    process::until(what, READY_TIMEOUT, processes, ready).await
}

fn log_directory(directory: &Path) -> PathBuf {
    directory.join("logs")
}
