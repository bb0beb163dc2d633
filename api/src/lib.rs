//! The HTTP facade: starts `MediaGeneration` workflows and reads their state. It knows the contract in `workflows` and
//! nothing of how activities do their work.
//!
//! - `server`: the listener
//! - [`access`]: who calls, and how much they may ask for
//! - `jobs`: the job resource and its routes
//! - `webhooks`: what the provider reports, and what we tell callers
//! - `health`: liveness and readiness
//! - `openapi`: the description of it all
//! - [`problem`]: errors as RFC 9457 has them
//! - `json`, `prefer`, `request_id`, [`edge`]: what requests and answers have in common
//! - `metrics`: what there is to count
//! - `temporal`: the connection, which may come and go

pub mod access;
pub mod config;
pub mod edge;
pub mod problem;

mod health;
mod jobs;
mod json;
mod metrics;
mod openapi;
mod prefer;
mod request_id;
mod server;
mod temporal;
mod webhooks;

use std::{net::SocketAddr, sync::Arc, time::Instant};

use anyhow::{Context as _, Result};
use darkroom_storage::Storage;
use darkroom_telemetry::{listener, metrics::Metrics};
use darkroom_workflows::{request::ExpireAfterSeconds, webhook_secret::WebhookSecret};
use poem::{
    Endpoint, EndpointExt, Request, Response,
    http::{Method, StatusCode, header},
    middleware::CatchPanic,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use url::Url;

pub use config::Config;

use access::{ApiKeys, Limits};
use health::ReadinessCache;
use jobs::{Presigned, view::Views, watch::Watches};
use openapi::Methods;
use problem::Problem;
use temporal::Temporal;
use webhooks::MAX_REPORTS;

/// What every handler works with.
struct Context {
    /// Where jobs run.
    temporal: Temporal,
    /// Where media and manifests lie.
    storage: Storage,
    /// The base of links to ourselves.
    public_url: Url,
    /// The base of links into the Temporal UI.
    temporal_ui: Option<Url>,
    /// What signs the provider's reports; without it, none is believed.
    replicate_secret: Option<WebhookSecret>,
    /// Whether the provider's reports reach us.
    expects_reports: bool,
    /// What the secrets of those who are told of the ends of jobs are made of.
    webhook_secret: Option<WebhookSecret>,
    /// Who may call; everybody if there are none.
    keys: ApiKeys,
    /// How much they may ask for.
    limits: Limits,
    /// How long after their end jobs are deleted that do not say so themselves.
    expire_after: Option<ExpireAfterSeconds>,
    /// Jobs as they were read lately.
    views: Views,
    /// Jobs that are followed.
    watches: Watches,
    /// URLs that were signed lately.
    presigned: Presigned,
    /// How things stood lately.
    readiness: ReadinessCache,
    /// What was counted.
    metrics: Metrics,
    /// Turns to read a report of the provider's.
    reports: Semaphore,
    /// When to end what does not end by itself.
    shutdown: CancellationToken,
}

impl Context {
    /// The URL of one of our paths, which begins with a slash.
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }
}

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
        let context = Arc::new(Context {
            temporal: Temporal::connect(config.temporal, shutdown.clone()),
            storage: config.storage,
            public_url: config.public_url,
            temporal_ui: config.temporal_ui,
            expects_reports: config.replicate_secret.is_some() && config.is_public,
            replicate_secret: config.replicate_secret,
            webhook_secret: config.webhook_secret,
            limits: Limits::new(&config.keys, config.requests_per_second, config.open_jobs),
            keys: config.keys,
            expire_after: config.expire_after,
            views: Views::new(),
            watches: Watches::default(),
            presigned: Presigned::new(),
            readiness: ReadinessCache::new(),
            metrics: metrics.clone(),
            reports: Semaphore::new(MAX_REPORTS),
            shutdown: shutdown.clone(),
        });
        if let Some(address) = config.metrics_listen {
            listener::serve(address, metrics, health::readiness(&context), told).await?;
        }
        tokio::spawn(metrics::watch_temporal(
            context.temporal.clone(),
            shutdown.clone(),
        ));
        tracing::info!(%address, max_connections, "api started");
        let (routes, methods) = openapi::routes(&context);
        let headers = edge::Headers::of(&context.public_url);
        let cors = config.origins.cors(&context.public_url);
        let answering = Problems(
            routes
                .data(context)
                .with(CatchPanic::new().with_handler(|_| Problem::internal())),
        );
        let shared = answering.with_if(!config.origins.is_empty(), cors);
        let identified = Identified {
            inner: shared,
            methods,
            headers,
        }
        .boxed();
        server::serve(listener, identified, max_connections, shutdown).await;
        tracing::info!("api stopped");
        Ok(())
    }
}

/// Makes every error a problem: what comes after knows answers only.
struct Problems<E>(E);

impl<E: Endpoint> Endpoint for Problems<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        Ok(request_id::with_problems(&self.0, request).await)
    }
}

/// Gives each request an id, and each answer the headers that it should have.
struct Identified<E> {
    inner: E,
    methods: Methods,
    headers: edge::Headers,
}

impl<E: Endpoint> Endpoint for Identified<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let (path, method, began) = (
            request.uri().path().to_owned(),
            method(request.method()),
            Instant::now(),
        );
        let route = self.methods.route(&path).unwrap_or("other");
        let mut response = request_id::identified(&self.inner, route, request).await;
        metrics::answered(
            method,
            route.to_owned(),
            response.status().as_u16(),
            began.elapsed(),
        );
        if response.status() == StatusCode::METHOD_NOT_ALLOWED
            && let Some(allowed) = self
                .methods
                .allowed(&path)
                .and_then(|allowed| allowed.parse().ok())
        {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        self.headers.add_to(response.headers_mut());
        Ok(response)
    }
}

fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
