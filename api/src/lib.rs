//! The HTTP facade of Darkroom: starts `MediaGeneration` workflows and reads their state. It knows
//! the contract in `darkroom-workflows`, and nothing of how activities do their work.
//!
//! In reading order:
//!
//! - `config`, `variables`: configuration from the environment
//! - `context`: state shared by all handlers
//! - `router`: paths and their handlers
//! - `jobs`: the job routes, one file per route; `jobs::create` is a good start
//! - `webhooks`, `keys`, `health`, `docs`: the other routes, one file per route
//! - `problem`, `json`, `query`, `prefer`: error responses, bodies and parameters
//! - `access`: authentication, authorization, rate limits and quotas
//! - `watch`: follows one job as it changes; `feed`: follows all jobs of a tenant; `sse`: streams
//!   server-sent events
//! - `temporal`: calls to Temporal, over a connection that is made in the background;
//!   `visibility`: its queries for jobs; `store`: reads of the store
//! - `middleware`: layers around every request and response
//! - `openapi`: the `OpenAPI` document, built from the routes and the types of `darkroom-types`
//! - `readiness`, `metrics`: state of the api and what it depends on, for operators
//! - `server`: the listener, with its limits and timeouts
//! - `page`: the web page for people

pub mod config;
pub mod variables;

mod access;
mod context;
mod docs;
mod feed;
mod health;
mod jobs;
mod json;
mod keys;
mod metrics;
mod middleware;
mod openapi;
mod page;
mod prefer;
mod problem;
mod query;
mod readiness;
mod router;
mod server;
mod sse;
mod store;
mod temporal;
mod visibility;
mod watch;
mod webhooks;

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use darkroom_telemetry::{listener, metrics::Metrics};
use futures::{FutureExt, future::BoxFuture};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::Server;

pub use config::Config;

use access::{Limits, Peers, StoredKeys};
use context::Context;
use feed::Feeds;
use jobs::{ListPages, Presigned, view::Views};
use page::{Assets, StoreOrigin};
use readiness::LatestReadiness;
use router::{Methods, router};
use temporal::Temporal;
use watch::Watches;

/// The facade with its socket bound: from here on, clients can connect.
pub struct Bound {
    listener: TcpListener,
    config: Config,
    /// Address that it listens on.
    pub address: SocketAddr,
}

impl Bound {
    /// Binds the socket.
    ///
    /// # Errors
    /// If the address is taken or does not belong to this machine.
    pub fn bind(config: Config) -> Result<Self> {
        let listen = config.listen;
        let problem = || format!("cannot listen on {listen} (DARKROOM_LISTEN)");
        let listener = server::bind(listen).with_context(problem)?;
        let address = listener.local_addr().with_context(problem)?;
        Ok(Self {
            listener,
            config,
            address,
        })
    }

    /// Serves until `shutdown`, then drains requests in flight.
    ///
    /// # Errors
    /// If the process already runs an api, as metrics are global to the process, or if
    /// `METRICS_LISTEN` cannot be bound.
    #[must_use]
    pub fn run(self, shutdown: CancellationToken) -> BoxFuture<'static, Result<()>> {
        // Boxed here: a future is compiled where it is polled.
        self.serve(shutdown).boxed()
    }

    async fn serve(self, shutdown: CancellationToken) -> Result<()> {
        // Metrics are served until the drain is over.
        let metrics_shutdown = CancellationToken::new();
        let _stop_metrics = metrics_shutdown.clone().drop_guard();
        let metrics = Metrics::install(metrics_shutdown.clone())?;
        metrics::describe();
        let Self {
            listener,
            config,
            address,
        } = self;
        let max_connections = config.connections();
        let peers = Arc::new(Peers::new(
            config.trusted_proxies,
            config.requests_per_second,
            max_connections,
            config.processes,
        ));
        let context = Arc::new(Context {
            peers: Arc::clone(&peers),
            temporal: Temporal::connect(config.temporal, shutdown.clone()),
            stored_keys: StoredKeys::new(config.storage.clone()),
            storage: config.storage,
            expects_reports: config.replicate_secret.is_some() && config.public_url.is_some(),
            public_url: match config.public_url {
                Some(url) => url,
                None => format!("http://{address}").parse()?,
            },
            temporal_ui: config.temporal_ui,
            replicate_secret: config.replicate_secret,
            webhook_secret: config.webhook_secret,
            limits: Limits::new(
                config.requests_per_second,
                config.open_jobs,
                config.processes,
            ),
            keys: config.keys,
            hosts: Arc::new(config.hosts),
            expire_after: config.expire_after,
            views: Views::new(),
            watches: Watches::new(config.processes),
            feeds: Feeds::new(),
            list_pages: ListPages::new(config.processes),
            presigned: Presigned::new(),
            page: config.has_page.then(Assets::new),
            store_origin: StoreOrigin::default(),
            readiness: LatestReadiness::new(),
            metrics: metrics.clone(),
            has_metrics_listener: config.metrics_listen.is_some(),
            shutdown: shutdown.clone(),
        });
        if let Some(address) = config.metrics_listen {
            listener::serve(
                address,
                metrics,
                readiness::probe(&context),
                metrics_shutdown,
            )
            .await?;
        }
        tokio::spawn(feed::read(Arc::clone(&context)));
        tokio::spawn(metrics::watch(Arc::clone(&context), shutdown.clone()));
        tracing::info!(%address, max_connections, "api started");
        let mut document = openapi::document();
        document.servers = Some(vec![Server::new(context.url(""))]);
        let (routes, methods) = (router(&document).routes, Methods::of(&document));
        let answering = middleware::around(routes, methods, context, &config.origins);
        server::serve(
            listener,
            answering,
            max_connections,
            config.idle_timeout,
            peers,
            shutdown,
        )
        .await;
        tracing::info!("api stopped");
        Ok(())
    }
}
