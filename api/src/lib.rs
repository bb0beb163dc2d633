//! The HTTP facade: starts `MediaGeneration` workflows and reads their state. It knows the contract in `workflows` and
//! nothing of how activities do their work.
//!
//! - `router`: which path leads where; `jobs`, `webhooks`, `keys`, `health`, `docs`: one file a route
//! - `page`: what a person sees of it
//! - `middleware`: what every request and answer goes through, in one order
//! - `openapi`: the description, made of the routes and of the types of `darkroom-types`
//! - `readiness`: whether it can answer, and what else there is
//! - `context`: what every handler works with
//! - `watch`: following a job as it changes; `feed`: following all jobs of a tenant; `sse`: how either is written
//! - `access`: who calls, and how much they may ask for
//! - `problem`, `json`, `query`, `prefer`: what requests and answers have in common
//! - `temporal`: the connection, which may come and go
//! - `server`, `metrics`: the listener, and what there is to count

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
mod temporal;
mod visibility;
mod watch;
mod webhooks;

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use darkroom_telemetry::{listener, metrics::Metrics};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::Server;

pub use config::Config;

use access::{Limits, Peers, StoredKeys};
use context::Context;
use feed::Feeds;
use jobs::{Lists, Presigned, view::Views};
use page::{Assets, StoreOrigin};
use readiness::LatestReadiness;
use router::{Methods, router};
use temporal::Temporal;
use watch::Watches;

/// The facade with its socket bound: from here on, callers can connect.
pub struct Bound {
    listener: TcpListener,
    config: Config,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Bound {
    /// Binds the socket.
    ///
    /// # Errors
    /// If the address is taken or not ours.
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

    /// Serves until `shutdown`, then lets requests under way finish.
    ///
    /// # Errors
    /// If the process has an api already, as metrics are the process's, or if `METRICS_LISTEN` cannot be had.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        // Whoever asks is answered to the end.
        let told = CancellationToken::new();
        let _told = told.clone().drop_guard();
        let metrics = Metrics::install(told.clone())?;
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
            public_url: config.public_url,
            temporal_ui: config.temporal_ui,
            expects_reports: config.replicate_secret.is_some() && config.is_public,
            replicate_secret: config.replicate_secret,
            webhook_secret: config.webhook_secret,
            limits: Limits::new(
                config.requests_per_second,
                config.open_jobs,
                config.processes,
            ),
            keys: config.keys,
            expire_after: config.expire_after,
            views: Views::new(),
            watches: Watches::new(config.processes),
            feeds: Feeds::new(),
            lists: Lists::new(config.processes),
            presigned: Presigned::new(),
            page: config.has_page.then(Assets::new),
            store_origin: StoreOrigin::default(),
            readiness: LatestReadiness::new(),
            metrics: metrics.clone(),
            has_metrics_listener: config.metrics_listen.is_some(),
            shutdown: shutdown.clone(),
        });
        if let Some(address) = config.metrics_listen {
            listener::serve(address, metrics, readiness::told(&context), told).await?;
        }
        tokio::spawn(feed::read(Arc::clone(&context)));
        tokio::spawn(metrics::watch(Arc::clone(&context), shutdown.clone()));
        tracing::info!(%address, max_connections, "api started");
        let mut document = openapi::document();
        document.servers = Some(vec![Server::new(context.url(""))]);
        let (routes, methods) = (router(&document).routes, Methods::of(&document));
        let answering = middleware::around(routes, methods, context, &config.origins);
        server::serve(listener, answering, max_connections, peers, shutdown).await;
        tracing::info!("api stopped");
        Ok(())
    }
}
