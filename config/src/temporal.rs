//! Connecting to Temporal by its SDKs' standard environment configuration (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`,
//! `TEMPORAL_API_KEY`, `TEMPORAL_TLS_*`, `temporal.toml`), so that whatever the `temporal` command reaches, we reach.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use darkroom_telemetry::{metrics, traces};
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, RetryOptions,
    envconfig::LoadClientConfigProfileOptions,
};

/// Where Temporal is and how to speak to it.
#[derive(Clone)]
pub struct TemporalConfig {
    connection: ConnectionOptions,
    client: ClientOptions,
}

impl TemporalConfig {
    /// Reads the environment and the configuration file that it may point to.
    ///
    /// # Errors
    /// If a value is malformed.
    pub fn from_env() -> Result<Self> {
        let (mut connection, mut client) = ClientOptions::load_from_config(LoadClientConfigProfileOptions::default())
            .map_err(|error| {
            anyhow!("TEMPORAL_*: {error}; set them like TEMPORAL_ADDRESS=127.0.0.1:7233 TEMPORAL_NAMESPACE=default")
        })?;
        connection.connect_timeout = Some(Duration::from_secs(5));
        client.client_interceptors.push(traces::on_start());
        Ok(Self { connection, client })
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.client.namespace
    }

    /// How long a call that fails for want of a server is tried again. A worker's own calls are not among them: the SDK sets ten
    /// seconds for those, whatever its connection was told.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        let retries = RetryOptions::builder()
            .max_elapsed_time(Some(patience))
            .max_retries(usize::MAX)
            .build();
        self.connection.retry_options = retries;
        self
    }

    /// Connects once. Calls are counted if metrics are installed by now.
    ///
    /// # Errors
    /// If the server is away or refuses.
    pub async fn connect(&self) -> Result<Client> {
        let mut options = self.connection.clone();
        options.metrics_meter = metrics::of_connection()?;
        let connection = Connection::connect(options).await.with_context(|| {
            format!(
                "cannot reach Temporal at {} (TEMPORAL_ADDRESS)",
                self.connection.target
            )
        })?;
        Ok(Client::new(connection, self.client.clone())?)
    }
}
