//! A provider that speaks Replicate's API over real HTTP and renders real pictures, for a first
//! look free of charge and for tests. Its predictions are files on disk, so that they survive a
//! kill. Faults are injected per request in `input.dev` ([`script::Script`]) and for all calls at
//! `/control` ([`control`]).
//!
//! - [`prediction`]: a prediction, and its status as a function of time
//! - `api`: the HTTP API
//! - [`script`]: instructions in a request
//! - [`control`]: outages, and the ledger of all predictions
//! - [`limits`]: rate limits, as token buckets
//! - `webhook`: signed reports
//! - `store`: predictions in memory and on disk
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
use serde_json::{Map, Value};
use tokio::{net::TcpListener, task::AbortHandle};
use uuid::{NoContext, Uuid};

pub use self::webhook::{SECRET as WEBHOOK_SECRET, sign as sign_webhook};
use self::{
    control::Outage,
    limits::{Buckets, Calls, Limits},
    prediction::Prediction,
    store::Store,
};

/// API token that the provider accepts.
pub const TOKEN: &str = "darkroom-on-loopback";

/// A running provider. Dropping it stops it.
pub struct ProviderServer {
    /// Base URL of its API, `/v1` included.
    pub base_url: String,
    /// Address that it listens on.
    pub address: SocketAddr,
    state: Arc<State>,
    serving: AbortHandle,
}

impl ProviderServer {
    /// Starts serving, with the predictions below `directory` and a default duration of
    /// predictions.
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
            // Ignored: the server ends with this process, or is aborted.
            let _ = server.run(routes).await;
        });
        Ok(Self {
            base_url,
            address,
            state,
            serving: serving.abort_handle(),
        })
    }

    /// Returns all predictions ever created, newest first. A real provider would charge for each.
    #[must_use]
    pub fn predictions(&self) -> Vec<Prediction> {
        self.state.store.newest_first(|_| true, usize::MAX)
    }

    /// Adds predictions of other users of the account, created evenly over the time until now.
    ///
    /// # Errors
    /// If they cannot be written to disk.
    pub fn add_foreign_predictions(&self, count: u32, within: Duration) -> Result<()> {
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

    /// Ends all predictions under way, and reports the end of each.
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

    /// Replaces fields of a prediction's instructions, which are the `dev` of its input.
    pub fn change_script(&self, id: &str, fields: &Map<String, Value>) {
        let changed = |prediction: &mut Prediction| prediction.change_script(fields);
        self.state.store.change(id, changed);
    }

    /// Sets the rate limits, and resets the count of calls.
    pub fn limit(&self, limits: Limits) {
        *self.state.buckets() = Buckets::new(limits);
    }

    /// Returns the calls since the limits were set.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.state.buckets().calls()
    }

    /// Returns the number of reports of a prediction that a receiver accepted.
    #[must_use]
    pub fn reports_of(&self, id: &str) -> u32 {
        self.state.reports().get(id).copied().unwrap_or_default()
    }

    /// Stops serving the list of predictions, as some providers have none.
    pub fn stop_listing(&self) {
        self.state.lists.store(false, Ordering::Relaxed);
    }

    /// Begins an outage: every call fails for a while.
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
    /// Accepted reports, by id of the prediction.
    reports: Mutex<HashMap<String, u32>>,
    /// True if the list of predictions is served.
    lists: AtomicBool,
}
