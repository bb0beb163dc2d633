//! The production stack without Docker: the components of `docker-compose.yml` as processes on
//! loopback, set up by the same scripts of `deploy/` with the same variables. Only the addresses
//! differ.
//!
//! - [`programs`]: Temporal's server, schema tool and UI, built with Go
//! - [`postgres`]: PostgreSQL, as installed on the system
//! - [`temporal`]: Temporal's server and UI on it
//! - `scripts`: the setup steps in between

pub mod postgres;
pub mod temporal;

pub mod programs;
mod scripts;

use std::{ffi::OsString, net::SocketAddr};

use anyhow::{Context, Result};

use self::{postgres::Postgres, programs::Programs, scripts::Secrets, temporal::Temporal};
use super::{
    Options, environment, ports, process::Process, provider::ProviderServer, s3::BUCKET,
    start_provider, until_ready, versitygw::VersityGateway,
};

/// Namespace of the stack.
pub const NAMESPACE: &str = "darkroom";

/// Retention of closed workflows in Temporal.
pub const RETENTION: &str = "7d";

/// Port of the api's metrics. Workers use the ports after it.
const METRICS_PORT: u16 = 9464;

/// Niceness of workers: where CPU is short, calls come before the work behind them. It gives them
/// about the share of the CPU that [`WORKER_CPU_SHARES`] does.
const WORKER_NICENESS: u8 = 10;

/// CPU shares of a worker's container; others have 1,024.
pub const WORKER_CPU_SHARES: u32 = 128;

/// A user of the store, with keys and rights of its own (`deploy/s3/policy.json`).
#[derive(Clone, Copy, Debug)]
pub enum StoreUser {
    /// The gateway's own user, who may do everything.
    Root,
    /// The workers.
    Worker,
    /// The api.
    Api,
}

impl StoreUser {
    /// Variables of the user's access key and secret key, as `deploy/new-env.sh` writes them.
    fn variables(self) -> [&'static str; 2] {
        match self {
            Self::Root => ["S3_ROOT_ACCESS_KEY_ID", "S3_ROOT_SECRET_ACCESS_KEY"],
            Self::Worker => ["S3_WORKER_ACCESS_KEY_ID", "S3_WORKER_SECRET_ACCESS_KEY"],
            Self::Api => ["S3_API_ACCESS_KEY_ID", "S3_API_SECRET_ACCESS_KEY"],
        }
    }
}

/// A running production stack. Dropping it stops everything.
pub struct Production {
    /// The workers.
    pub workers: Vec<Process>,
    /// The api.
    pub api: Process,
    /// Address that the api listens on.
    pub api_address: SocketAddr,
    /// API key of the stack's one tenant.
    pub api_key: String,
    /// The embedded provider; absent if Replicate is used.
    pub provider: Option<ProviderServer>,
    /// The S3 gateway.
    pub s3: VersityGateway,
    /// Temporal.
    pub temporal: Temporal,
    /// PostgreSQL.
    pub postgres: Postgres,
    programs: Programs,
    secrets: Secrets,
    options: Options,
}

impl Production {
    /// Starts everything with this many workers and waits until workers and api are ready. Calls
    /// `progress` with a line for each component.
    ///
    /// # Errors
    /// If a component cannot be started. The message names the component and its log.
    pub async fn start(options: Options, workers: usize, progress: impl Fn(&str)) -> Result<Self> {
        let directory = &options.directory;
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let programs = programs::locate(&progress).await?;
        let (secrets, api_key) = scripts::secrets(directory)?;
        let postgres = Postgres::start(&options, secrets.get("POSTGRES_PASSWORD")?).await?;
        progress(&format!("PostgreSQL  {}", postgres.address));
        scripts::schema(&programs, &postgres, &secrets)?;
        let temporal = Temporal::start(&programs, &options, &postgres, &secrets).await?;
        progress(&format!("Temporal    {}", temporal.address));
        scripts::namespace(&programs, &temporal.address)?;
        progress(&format!("Temporal UI {}", temporal.ui));
        let s3 = start_store(&options, &secrets, &progress).await?;
        scripts::bucket(&s3.endpoint, &secrets)?;
        progress(&format!("S3          {}", s3.endpoint));
        let provider = start_provider(&options).await?;
        let api_address = ports::pick(&options, "api", 8080).await?;
        let variables = variables(&temporal, &s3, provider.as_ref(), api_address, &secrets)?;
        let api = start_api(&variables, &secrets, &options).await?;
        let mut stack = Self {
            workers: Vec::new(),
            api,
            api_address,
            api_key,
            provider,
            s3,
            temporal,
            postgres,
            programs,
            secrets,
            options,
        };
        stack.add_workers(workers).await?;
        progress(&format!("workers     {workers}, each on both queues"));
        progress(&format!("api         {}", stack.api_url()));
        Ok(stack)
    }

    /// The base URL of the api.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}", self.api_address)
    }

    /// Returns a `PATH` that has Temporal's programs before any other.
    ///
    /// # Errors
    /// If a directory's name cannot be part of a `PATH`.
    pub fn path(&self) -> Result<OsString> {
        self.programs.path()
    }

    /// Returns the password of the database role.
    ///
    /// # Errors
    /// If it is not among the secrets.
    pub fn database_password(&self) -> Result<&str> {
        self.secrets.get("POSTGRES_PASSWORD")
    }

    /// Returns the access key and the secret key of a user of the store.
    ///
    /// # Errors
    /// If they are not among the secrets.
    pub fn store_keys(&self, user: StoreUser) -> Result<(&str, &str)> {
        self.secrets.store_keys(user)
    }

    /// Starts another worker, with further variables.
    ///
    /// # Errors
    /// If no port is free or the process cannot be started.
    pub async fn add_worker(&mut self, further: &[(&'static str, String)]) -> Result<()> {
        let number = self.workers.len() + 1;
        let name = format!("worker-{number}");
        // The port after those of the api and of earlier workers.
        let usual = METRICS_PORT.saturating_add(u16::try_from(number).unwrap_or(u16::MAX));
        let mut variables = self.variables()?;
        variables.extend(store_variables(&self.secrets, StoreUser::Worker)?);
        variables.push(metrics_listen(&self.options, &name, usual).await?);
        variables.extend_from_slice(further);
        let worker =
            environment::spawn_nice(WORKER_NICENESS, &name, "worker", &variables, &self.options);
        self.workers.push(worker?);
        Ok(())
    }

    /// Stops the store, runs `meanwhile`, and starts the store again.
    ///
    /// # Errors
    /// If the store does not start again.
    pub async fn restart_store<T>(&mut self, meanwhile: impl AsyncFnOnce() -> T) -> Result<T> {
        self.s3.stop();
        let done = meanwhile().await;
        self.s3 = start_store(&self.options, &self.secrets, &|_: &str| {}).await?;
        Ok(done)
    }

    /// Stops everything that writes to the database, runs `meanwhile`, and starts it again with as
    /// many workers.
    ///
    /// # Errors
    /// If a component does not start again.
    pub async fn restart_on_database(&mut self, meanwhile: impl AsyncFnOnce()) -> Result<()> {
        let workers = std::mem::take(&mut self.workers).len();
        self.api.stop();
        self.temporal.stop();
        meanwhile().await;
        self.temporal =
            Temporal::start(&self.programs, &self.options, &self.postgres, &self.secrets).await?;
        self.api = start_api(&self.variables()?, &self.secrets, &self.options).await?;
        self.add_workers(workers).await
    }

    /// Starts workers and waits until workers and api are ready.
    async fn add_workers(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            self.add_worker(&[]).await?;
        }
        let processes: Vec<_> = self.workers.iter().chain([&self.api]).collect();
        until_ready(
            "workers and api that are ready",
            &self.api_url(),
            &processes,
        )
        .await
    }

    fn variables(&self) -> Result<Vec<(&'static str, String)>> {
        variables(
            &self.temporal,
            &self.s3,
            self.provider.as_ref(),
            self.api_address,
            &self.secrets,
        )
    }
}

async fn start_store(
    options: &Options,
    secrets: &Secrets,
    progress: &impl Fn(&str),
) -> Result<VersityGateway> {
    let keys = secrets.store_keys(StoreUser::Root)?;
    VersityGateway::start_with_keys(options, keys, progress).await
}

async fn start_api(
    variables: &[(&'static str, String)],
    secrets: &Secrets,
    options: &Options,
) -> Result<Process> {
    let mut variables = variables.to_vec();
    variables.extend(store_variables(secrets, StoreUser::Api)?);
    variables.push(metrics_listen(options, "api", METRICS_PORT).await?);
    environment::spawn("api", "api", &variables, options)
}

/// Picks the address of a process's metrics.
async fn metrics_listen(
    options: &Options,
    name: &str,
    usual: u16,
) -> Result<(&'static str, String)> {
    let address = ports::pick(options, &format!("{name}-metrics"), usual).await?;
    Ok(("METRICS_LISTEN", address.to_string()))
}

/// Environment variables of a process that acts as this user of the store.
fn store_variables(secrets: &Secrets, user: StoreUser) -> Result<[(&'static str, String); 2]> {
    let (access_key, secret_key) = secrets.store_keys(user)?;
    Ok([
        ("AWS_ACCESS_KEY_ID", access_key.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secret_key.to_owned()),
    ])
}

/// Environment variables of worker and api alike: those that `docker-compose.yml` sets, and those
/// of the embedded provider.
fn variables(
    temporal: &Temporal,
    s3: &VersityGateway,
    provider: Option<&ProviderServer>,
    api_address: SocketAddr,
    secrets: &Secrets,
) -> Result<Vec<(&'static str, String)>> {
    let mut variables = vec![
        ("TEMPORAL_ADDRESS", temporal.address.clone()),
        ("TEMPORAL_NAMESPACE", NAMESPACE.to_owned()),
        ("AWS_ENDPOINT_URL_S3", s3.endpoint.clone()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("S3_BUCKET", BUCKET.to_owned()),
        ("S3_PUBLIC_ENDPOINT", s3.endpoint.clone()),
        ("DARKROOM_LISTEN", api_address.to_string()),
        ("DARKROOM_PUBLIC_URL", format!("http://{api_address}")),
        ("DARKROOM_TEMPORAL_UI", temporal.ui.clone()),
    ];
    for name in ["DARKROOM_API_KEYS", "DARKROOM_WEBHOOK_SECRET"] {
        variables.push((name, secrets.get(name)?.to_owned()));
    }
    variables.extend(provider.into_iter().flat_map(environment::of_provider));
    Ok(variables)
}
