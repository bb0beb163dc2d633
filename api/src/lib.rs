//! The HTTP facade: starts `MediaGeneration` workflows and reads their state. It knows the contract in `workflows` and
//! nothing of how activities do their work.
//!
//! - [`jobs`]: the job resource and its routes
//! - [`webhooks`]: what the provider reports
//! - [`health`]: liveness and readiness
//! - [`problem`]: errors as RFC 9457 has them
//! - [`json`]: request bodies, read strictly
//! - [`temporal`]: the connection, which may come and go

pub mod config;
pub mod health;
pub mod jobs;
pub mod json;
pub mod problem;
pub mod temporal;
pub mod webhooks;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use darkroom_config::Storage;
use poem::{
    Endpoint, EndpointExt, IntoResponse, Route, Server,
    listener::{Acceptor, Listener, TcpAcceptor, TcpListener},
    middleware::CatchPanic,
};
use tokio_util::sync::CancellationToken;
use url::Url;

pub use config::Config;
use problem::Problem;
use temporal::Temporal;
use webhooks::WebhookSecret;

/// How long requests under way may take once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(20);

/// What every handler works with.
pub struct Context {
    /// Where jobs run.
    pub temporal: Temporal,
    /// Where media and manifests lie.
    pub storage: Storage,
    /// The base of links to ourselves.
    pub public_url: Url,
    /// The base of links into the Temporal UI.
    pub temporal_ui: Option<Url>,
    /// What signs the provider's reports; without it, none is believed.
    pub webhook_secret: Option<WebhookSecret>,
}

/// The facade with its socket bound: from here on, callers can connect.
pub struct Bound {
    acceptor: TcpAcceptor,
    config: Config,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Bound {
    /// Binds the socket.
    ///
    /// # Errors
    /// If the address is taken or not ours.
    pub async fn bind(config: Config) -> Result<Self> {
        let listen = config.listen;
        let problem = || format!("cannot listen on {listen} (DARKROOM_LISTEN)");
        let acceptor = TcpListener::bind(listen).into_acceptor().await.with_context(problem)?;
        let local = acceptor.local_addr().into_iter().find_map(|address| address.as_socket_addr().copied());
        Ok(Self { acceptor, config, address: local.unwrap_or(listen) })
    }

    /// Serves until `shutdown`, then lets requests under way finish.
    ///
    /// # Errors
    /// If the listener breaks.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let Config { temporal, storage, public_url, temporal_ui, webhook_secret, .. } = self.config;
        let temporal = Temporal::connect(temporal, shutdown.clone());
        let context = Arc::new(Context { temporal, storage, public_url, temporal_ui, webhook_secret });
        tracing::info!(address = %self.address, "api started");
        Server::new_with_acceptor(self.acceptor)
            .run_with_graceful_shutdown(routes(context), shutdown.cancelled_owned(), Some(DRAIN))
            .await
            .context("the listener broke")?;
        tracing::info!("api stopped");
        Ok(())
    }
}

fn routes(context: Arc<Context>) -> impl Endpoint {
    Route::new()
        .nest("/v1/jobs", jobs::routes())
        .nest("/v1/webhooks", webhooks::routes())
        .at("/healthz", health::live())
        .at("/readyz", health::ready())
        .data(context)
        .around(|endpoint, request| async move {
            let path = request.uri().path().to_owned();
            match endpoint.call(request).await {
                Ok(response) => Ok(response.into_response()),
                Err(error) => Ok(Problem::from(error).at(path).into_response()),
            }
        })
        .with(CatchPanic::new().with_handler(|_| Problem::internal()))
}
