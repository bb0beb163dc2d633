//! The connection to Temporal, by the standard environment configuration of its SDKs
//! (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_TLS_*`,
//! `temporal.toml`). Darkroom connects to the same server as the `temporal` command.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures::{FutureExt, future::BoxFuture};
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, RetryOptions,
    envconfig::LoadClientConfigProfileOptions,
};
use tokio_util::sync::CancellationToken;

use crate::{metrics, trace_context};

/// Timeout of one connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Interval between two connection attempts.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);

/// Configuration of a connection: address, namespace, credentials and TLS.
#[derive(Clone)]
pub struct TemporalConfig {
    connection: ConnectionOptions,
    client: ClientOptions,
}

impl TemporalConfig {
    /// Reads the environment, and the configuration file if there is one.
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

    /// Returns the namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.client.namespace
    }

    /// Sets the time for which a failed call is retried while the server is unavailable. It does
    /// not apply to a worker's own calls: the SDK retries those for ten seconds, whatever the
    /// configuration of the connection.
    #[must_use]
    pub fn with_retry_timeout(mut self, timeout: Duration) -> Self {
        self.connection.retry_options = RetryOptions::builder()
            .max_elapsed_time(Some(timeout))
            .max_retries(usize::MAX)
            .build();
        self
    }

    /// Connects once. Calls are measured if metrics were installed before.
    ///
    /// Boxed here: a future is compiled where it is polled, and this one contains all calls of the
    /// service.
    ///
    /// # Errors
    /// If the server is unavailable or refuses.
    #[must_use]
    pub fn connect(&self) -> BoxFuture<'_, Result<Client>> {
        self.connect_once().boxed()
    }

    async fn connect_once(&self) -> Result<Client> {
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

    /// Connects, and retries until the server is available; `None` if `shutdown` comes first. A
    /// process may start before its server.
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
