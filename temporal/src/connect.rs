//! Connecting to Temporal by its SDKs' standard environment configuration (`TEMPORAL_ADDRESS`,
//! `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_TLS_*`, `temporal.toml`), so that whatever
//! the `temporal` command reaches, we reach.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, RetryOptions,
    envconfig::LoadClientConfigProfileOptions,
};
use tokio_util::sync::CancellationToken;

use crate::{metrics, trace_context};

/// Timeout of one attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between two attempts.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);

/// Address of a Temporal server, and how to speak to it.
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
        let (mut connection, mut client) = ClientOptions::load_from_config(
            LoadClientConfigProfileOptions::default(),
        )
        .map_err(|error| {
            anyhow!(
                "TEMPORAL_*: {error}; set them like TEMPORAL_ADDRESS=127.0.0.1:7233 \
                 TEMPORAL_NAMESPACE=default"
            )
        })?;
        connection.connect_timeout = Some(CONNECT_TIMEOUT);
        client
            .client_interceptors
            .push(trace_context::client_interceptor());
        Ok(Self { connection, client })
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.client.namespace
    }

    /// Sets for how long a call that fails for want of a server is retried. A worker's own calls
    /// are not among them: the SDK sets ten seconds for those, whatever its connection was
    /// configured with.
    #[must_use]
    pub fn with_retry_timeout(mut self, timeout: Duration) -> Self {
        self.connection.retry_options = RetryOptions::builder()
            .max_elapsed_time(Some(timeout))
            .max_retries(usize::MAX)
            .build();
        self
    }

    /// Connects once. Calls are counted if metrics are installed by now.
    ///
    /// # Errors
    /// If the server is unavailable or refuses.
    pub async fn connect(&self) -> Result<Client> {
        let mut options = self.connection.clone();
        options.metrics_meter = metrics::connection_meter()?;
        let connection = Connection::connect(options).await.with_context(|| {
            format!(
                "cannot reach Temporal at {} (TEMPORAL_ADDRESS)",
                self.connection.target
            )
        })?;
        Ok(Client::new(connection, self.client.clone())?)
    }

    /// Connects, and retries until there is a server; `None` if `shutdown` comes first. Processes
    /// may start before their servers, or while these are unavailable.
    pub async fn connect_with_retries(&self, shutdown: &CancellationToken) -> Option<Client> {
        let connected = async {
            loop {
                match self.connect().await {
                    Ok(client) => return client,
                    Err(error) => {
                        tracing::warn!(error = format!("{error:#}"), "waiting for Temporal");
                    }
                }
                tokio::time::sleep(RECONNECT_INTERVAL).await;
            }
        };
        shutdown.run_until_cancelled(connected).await
    }
}
