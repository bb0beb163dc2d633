//! The connection to Temporal. The api serves without one, says so, and has one as soon as there is a server.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use darkroom_config::temporal::TemporalConfig;
use temporalio_client::{
    Client, RpcOptions,
    tonic::{Code, Status},
};
use tokio_util::sync::CancellationToken;

use crate::problem::{Kind, Problem};

const RECONNECT: Duration = Duration::from_secs(1);

/// How long Temporal may take to answer one call.
const RPC_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that is made in the background.
#[derive(Clone)]
pub struct Temporal {
    client: Arc<OnceLock<Client>>,
}

impl Temporal {
    /// Starts to connect, for as long as it takes.
    #[must_use]
    pub fn connect(config: TemporalConfig, shutdown: CancellationToken) -> Self {
        let client = Arc::new(OnceLock::new());
        let connected = Arc::clone(&client);
        tokio::spawn(async move {
            while !shutdown.is_cancelled() {
                match config.connect().await {
                    Ok(client) => {
                        // Only this task ever sets it.
                        let _ = connected.set(client);
                        tracing::info!(namespace = config.namespace(), "connected to Temporal");
                        return;
                    }
                    Err(error) => tracing::warn!(error = format!("{error:#}"), "waiting for Temporal"),
                }
                tokio::time::sleep(RECONNECT).await;
            }
        });
        Self { client }
    }

    /// The client, once there is one.
    ///
    /// # Errors
    /// A problem for the caller if there is none yet.
    pub fn client(&self) -> Result<&Client, Problem> {
        self.client.get().ok_or_else(away)
    }
}

/// Options for a call that a caller waits for.
#[must_use]
pub fn rpc_options() -> RpcOptions {
    RpcOptions::builder().timeout(RPC_TIMEOUT).build()
}

/// What a caller is told of a failed call to Temporal.
#[must_use]
pub fn problem(status: &Status) -> Problem {
    if is_away(status) {
        return away();
    }
    tracing::error!(code = ?status.code(), message = status.message(), "Temporal refused a call");
    Problem::internal()
}

/// Whether a call failed for want of a server that answers.
#[must_use]
pub fn is_away(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted | Code::Aborted => true,
        // The transport's own errors come without a code of their own.
        Code::Unknown => std::error::Error::source(status).is_some(),
        _ => false,
    }
}

fn away() -> Problem {
    Problem::new(Kind::TemporalUnavailable, "Temporal cannot be reached; try again").retry_after(2)
}
