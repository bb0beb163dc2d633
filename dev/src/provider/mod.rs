//! A provider that speaks Replicate's contract over real HTTP and renders real pictures, for a first look without paying
//! and for tests. Its predictions lie on disk, so that it forgets nothing when it is killed. What it can be told to do
//! wrong is in a request's `input.dev` ([`script::Script`]) and at `/control` ([`control`]).
//!
//! - [`prediction`]: what a prediction is and how it stands at a moment
//! - [`script`]: what a request may tell it to do
//! - [`control`]: outages, and the ledger of what was asked
//! - [`limits`]: how many calls a minute are taken
//! - `api`: the contract
//! - `webhook`: reports, signed
//! - `store`: the predictions, in memory and on disk
//! - `render`: pictures

pub mod control;
pub mod limits;
pub mod prediction;
pub mod script;

mod api;
mod render;
mod store;
mod webhook;

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use poem::{EndpointExt, Route, Server, listener::TcpAcceptor};
use serde_json::Map;
use tokio::{net::TcpListener, task::AbortHandle};
use uuid::{NoContext, Uuid};

pub use self::webhook::{SECRET as WEBHOOK_SECRET, sign as sign_webhook};
use self::{
    control::Outage,
    limits::{Buckets, Calls, Limits},
    prediction::Prediction,
    store::Store,
};

/// The token that the provider takes.
pub const TOKEN: &str = "darkroom-on-loopback";

/// A running provider. Dropping it stops it.
pub struct ProviderServer {
    /// Its API's base URL, `/v1` included.
    pub base_url: String,
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    serving: AbortHandle,
}

impl ProviderServer {
    /// Serves, with its predictions below `directory`.
    ///
    /// # Errors
    /// If the directory cannot be used.
    pub fn start(directory: &Path, listener: TcpListener, latency: Duration) -> Result<Self> {
        let address = listener.local_addr()?;
        let origin = format!("http://{address}");
        let base_url = format!("{origin}/v1");
        let store = Store::open(directory)
            .with_context(|| format!("cannot use {}", directory.display()))?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()?;
        let state = Arc::new(State {
            store,
            origin,
            latency,
            http,
            outage: Mutex::new(None),
            buckets: Mutex::default(),
            reports: Mutex::default(),
            lists: AtomicBool::new(true),
        });
        let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?);
        let routes = Route::new()
            .nest("/v1", api::routes())
            .nest("/files", api::files())
            .nest("/control", control::routes())
            .data(Arc::clone(&state));
        let serving = tokio::spawn(async move {
            // It ends with this process, or is aborted.
            let _ = server.run(routes).await;
        });
        Ok(Self {
            base_url,
            address,
            state,
            serving: serving.abort_handle(),
        })
    }

    /// All predictions that were ever created, newest first: each is what a paying user would be charged for.
    #[must_use]
    pub fn predictions(&self) -> Vec<Prediction> {
        self.state.store.newest_first(|_| true, usize::MAX)
    }

    /// Has so many predictions of others, made evenly in the time until now.
    ///
    /// # Errors
    /// If they cannot be kept.
    pub fn has_others(&self, count: u32, within: Duration) -> Result<()> {
        let step = SignedDuration::try_from(within / count.max(1))?;
        let begin = Timestamp::now() - step * i32::try_from(count)?;
        for number in 0..i32::try_from(count)? {
            let created_at = begin + step * number;
            let mut other = Prediction::new(
                "acme/other".to_owned(),
                Map::new(),
                None,
                Vec::new(),
                created_at,
                Duration::ZERO,
                None,
            );
            let time = uuid::Timestamp::from_unix(
                NoContext,
                u64::try_from(created_at.as_second())?,
                u32::try_from(created_at.subsec_nanosecond())?,
            );
            other.id = Uuid::new_v7(time).simple().to_string();
            self.state.store.put(other)?;
        }
        Ok(())
    }

    /// Ends all predictions that are at work, and reports each end.
    pub fn finish(&self) {
        let now = Timestamp::now();
        let at_work = |prediction: &Prediction| !prediction.status(now).is_terminal();
        for prediction in self.state.store.newest_first(at_work, usize::MAX) {
            let worked = now.duration_since(prediction.created_at);
            let finished = self.state.store.change(&prediction.id, |prediction| {
                prediction.latency = Duration::try_from(worked).unwrap_or_default();
            });
            if let Some(finished) = finished {
                webhook::report_end(&self.state, &finished);
            }
        }
    }

    /// Takes no more calls than this from now on.
    pub fn limit(&self, limits: Limits) {
        *self.state.buckets() = Buckets::new(limits);
    }

    /// The calls since then.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.state.buckets().calls()
    }

    /// How many reports of a prediction were taken.
    #[must_use]
    pub fn reports_of(&self, id: &str) -> u32 {
        self.state.reports().get(id).copied().unwrap_or_default()
    }

    /// Has no list of predictions from now on, as some providers have none.
    pub fn stop_listing(&self) {
        self.state.lists.store(false, Ordering::Relaxed);
    }

    /// Answers every call with an error for a while.
    pub fn fail(&self, outage: Outage) {
        self.state.fail(outage);
    }
}

impl Drop for ProviderServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct State {
    store: Store,
    origin: String,
    latency: Duration,
    http: reqwest::Client,
    outage: Mutex<Option<Outage>>,
    buckets: Mutex<Buckets>,
    /// How many reports of each prediction were taken.
    reports: Mutex<HashMap<String, u32>>,
    /// Whether there is a list of predictions.
    lists: AtomicBool,
}
