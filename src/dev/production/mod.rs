//! The production stack without Docker: the components of `docker-compose.yml` as processes on loopback, brought up by the same
//! scripts of `deploy/` with the same variables. What differs is where a component listens.
//!
//! - [`programs`]: Temporal's server, its schema tool and its UI, built with Go
//! - [`postgres`]: PostgreSQL, from the system
//! - [`temporal`]: Temporal's server and UI on it
//! - `scripts`: the steps in between

pub mod postgres;
pub mod temporal;

pub mod programs;
mod scripts;

use std::net::SocketAddr;

use anyhow::{Context, Result};

use self::{postgres::Postgres, scripts::Secrets, temporal::Temporal};
use super::{
    Options, ProviderChoice, environment, ports, process::Process, provider::ProviderServer, s3::BUCKET, until_ready,
    versitygw::VersityGateway,
};

/// The namespace.
pub const NAMESPACE: &str = "darkroom";

/// A running production stack. Dropping it stops everything.
pub struct Production {
    /// The workers.
    pub workers: Vec<Process>,
    /// The api.
    pub api: Process,
    /// Where the api listens.
    pub api_address: SocketAddr,
    /// What callers of the api say who they are with.
    pub api_key: String,
    /// The provider; absent where the real one is used.
    pub provider: Option<ProviderServer>,
    /// The S3 gateway.
    pub s3: VersityGateway,
    /// Temporal.
    pub temporal: Temporal,
    /// PostgreSQL.
    pub postgres: Postgres,
    secrets: Secrets,
    options: Options,
}

impl Production {
    /// Starts everything with this many workers and waits until a job that is accepted would be worked on. Tells `progress` of
    /// each component.
    ///
    /// # Errors
    /// If a component cannot be started; the message says which and where its log is.
    pub async fn start(options: Options, workers: usize, progress: impl Fn(&str)) -> Result<Self> {
        let directory = &options.directory;
        std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let programs = programs::locate(&progress).await?;
        let (secrets, api_key) = scripts::secrets(directory)?;
        let postgres = Postgres::start(&options, secrets.get("POSTGRES_PASSWORD")?).await?;
        progress(&format!("PostgreSQL  {}", postgres.address));
        scripts::schema(&programs, &postgres, &secrets)?;
        let temporal = Temporal::start(&programs, &options, &postgres, &secrets).await?;
        progress(&format!("Temporal    {}", temporal.address));
        scripts::namespace(&programs, &temporal.address)?;
        progress(&format!("Temporal UI {}", temporal.ui));
        let keys = (secrets.get("AWS_ACCESS_KEY_ID")?, secrets.get("AWS_SECRET_ACCESS_KEY")?);
        let s3 = VersityGateway::start_with_keys(&options, keys, &progress).await?;
        scripts::bucket(&s3.endpoint, &secrets)?;
        progress(&format!("S3          {}", s3.endpoint));
        let provider = match options.provider {
            ProviderChoice::Embedded { latency } => {
                let listener = ports::bind(&options, "provider", 9100).await?;
                Some(ProviderServer::start(&directory.join("provider"), listener, latency)?)
            }
            ProviderChoice::Replicate => None,
        };
        let api_address = ports::pick(&options, "api", 8080).await?;
        let variables = variables(&temporal, &s3, provider.as_ref(), api_address, &secrets)?;
        let api = environment::spawn("api", "api", &variables, &options)?;
        let mut stack =
            Self { workers: Vec::new(), api, api_address, api_key, provider, s3, temporal, postgres, secrets, options };
        for _ in 0..workers {
            stack.add_worker(&[])?;
        }
        let processes: Vec<_> = stack.workers.iter().chain([&stack.api]).collect();
        until_ready("workers and an api that are ready", &stack.api_url(), &processes).await?;
        progress(&format!("workers     {workers}, each on both queues"));
        progress(&format!("api         {}", stack.api_url()));
        Ok(stack)
    }

    /// The base URL of the api.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}", self.api_address)
    }

    /// Starts one more worker, which is told this as well.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn add_worker(&mut self, further: &[(&'static str, String)]) -> Result<()> {
        let mut variables =
            variables(&self.temporal, &self.s3, self.provider.as_ref(), self.api_address, &self.secrets)?;
        variables.extend_from_slice(further);
        let name = format!("worker-{}", self.workers.len() + 1);
        self.workers.push(environment::spawn(&name, "worker", &variables, &self.options)?);
        Ok(())
    }
}

/// What worker and api are told: the variables that `docker-compose.yml` gives them, and how to find the embedded provider.
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
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "DARKROOM_API_KEYS", "DARKROOM_WEBHOOK_SECRET"] {
        variables.push((name, secrets.get(name)?.to_owned()));
    }
    variables.extend(provider.into_iter().flat_map(environment::of_provider));
    Ok(variables)
}
