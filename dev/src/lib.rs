//! The embedded stack: everything that Darkroom needs, as real parts on loopback. Plain `cargo run` starts it, tests share
//! it. Its data lie below one directory, so that a stack that was stopped or killed goes on where it was.
//!
//! - [`temporal`]: a Temporal dev server, found or built by [`temporal_cli`]
//! - [`s3`]: an S3 server; [`versitygw`]: another one, for tests and benchmarks
//! - [`provider`]: a provider that speaks Replicate's contract and renders real pictures
//! - [`production`]: the production stack without Docker
//! - `cache`: programs that are not ours
//! - `environment`: what our processes are told
//! - [`process`]: child processes that never outlive us
//! - [`ports`]: the port that it had before, the usual one or a free one

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

/// What the embedded stack signs webhooks with. It is no secret.
pub const WEBHOOK_SECRET: &str = "whsec_ZGFya3Jvb20gb24gb25lIG1hY2hpbmU=";

/// What the stack is to be like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its data lie.
    pub directory: PathBuf,
    /// The `darkroom` binary, of which worker and api are processes.
    pub binary: PathBuf,
    /// Whether to use the usual ports where they are free; otherwise any.
    pub usual_ports: bool,
    /// Whether to serve the Temporal UI.
    pub temporal_ui: bool,
    /// Who makes the outputs.
    pub provider: ProviderChoice,
    /// What worker and api are told beside the usual, or instead of it.
    pub variables: Vec<(&'static str, String)>,
}

/// Who makes the outputs.
#[derive(Clone, Copy, Debug)]
pub enum ProviderChoice {
    /// The embedded provider.
    Embedded {
        /// How long it takes, unless a request says otherwise.
        latency: Duration,
    },
    /// Replicate itself, for money, with the `REPLICATE_*` of our own environment.
    Replicate,
}

/// A running stack. Dropping it stops everything.
pub struct Stack {
    /// The Temporal server.
    pub temporal: TemporalServer,
    /// The S3 server.
    pub s3: S3Server,
    /// The provider; absent where the real one is used.
    pub provider: Option<ProviderServer>,
    /// The worker.
    pub worker: Process,
    /// The api.
    pub api: Process,
    /// Where the api listens.
    pub api_address: SocketAddr,
    options: Options,
}

impl Stack {
    /// Starts everything and waits until a job that is accepted would be worked on. Tells `progress` of each component.
    ///
    /// # Errors
    /// If a component cannot be started; the message says which and where its log is.
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
            None => "provider    Replicate, for money (REPLICATE_API_TOKEN is set)".to_owned(),
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

    /// Starts a further process of our binary, `worker` or `api`, against this stack. The process that it takes the place
    /// of, if any, must be gone.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&self, subcommand: &'static str) -> Result<Process> {
        environment::spawn(
            subcommand,
            subcommand,
            &self.variables(self.api_address),
            &self.options,
        )
    }

    /// Starts a worker of a build, under a name of its own, which is told this as well.
    ///
    /// # Errors
    /// If it cannot be started.
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

    /// Starts a second api beside the first, and waits until it answers.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn spawn_another_api(
        &self,
        variables: &[(&'static str, String)],
    ) -> Result<(Process, SocketAddr)> {
        let (process, address) = self.spawn_api(variables).await?;
        until_ready(
            "another api that is ready",
            &format!("http://{address}"),
            &[&process],
        )
        .await?;
        Ok((process, address))
    }

    /// Starts one more api, whether it can be ready or not.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn spawn_api(
        &self,
        variables: &[(&'static str, String)],
    ) -> Result<(Process, SocketAddr)> {
        let mut options = Options {
            usual_ports: false,
            ..self.options.clone()
        };
        let address = ports::pick(&options, "another-api", 0).await?;
        // Links are the same, whichever process makes them.
        options
            .variables
            .push(("DARKROOM_PUBLIC_URL", self.api_url()));
        options.variables.extend_from_slice(variables);
        let process = environment::spawn("another-api", "api", &self.variables(address), &options)?;
        Ok((process, address))
    }

    /// What a process of our binary is told that works on this stack.
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

    /// Waits until the api reports that it is ready.
    ///
    /// # Errors
    /// If a process ends or a minute passes first.
    pub async fn until_ready(&self) -> Result<()> {
        until_ready(
            "a worker and an api that are ready",
            &self.api_url(),
            &[&self.worker, &self.api],
        )
        .await
    }
}

/// What worker and api of the embedded stack are told.
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
    // Replicate calls back over https only, and cannot reach loopback.
    if let Some(provider) = provider {
        variables.extend(environment::of_provider(provider));
        variables.push(("DARKROOM_PUBLIC_URL", format!("http://{api_address}")));
    }
    variables
}

/// Starts the embedded provider, unless the real one is used.
async fn start_provider(options: &Options) -> Result<Option<ProviderServer>> {
    let ProviderChoice::Embedded { latency } = options.provider else {
        return Ok(None);
    };
    let listener = ports::bind(options, "provider", 9100).await?;
    ProviderServer::start(&options.directory.join("provider"), listener, latency).map(Some)
}

/// Waits until an api reports that it is ready.
pub(crate) async fn until_ready(what: &str, api_url: &str, processes: &[&Process]) -> Result<()> {
    let url = format!("{api_url}/readyz?full");
    let http = reqwest::Client::builder().no_proxy().build()?;
    let ready = async || {
        http.get(&url)
            .send()
            .await
            .is_ok_and(|response| response.status().is_success())
    };
    process::until(what, Duration::from_mins(1), processes, ready).await
}

fn log_directory(directory: &Path) -> PathBuf {
    directory.join("logs")
}
