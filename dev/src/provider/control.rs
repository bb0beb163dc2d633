//! Control of the provider over HTTP, and its ledger:
//!
//! - `PUT /control/outage` with `{"status": 500, "seconds": 60}` begins an outage
//! - `PUT /control/limits` with `{"creates_per_minute": 6, "create_burst": 1}` sets rate limits
//! - `GET /control/ledger` returns all predictions and the number of calls

use std::{
    collections::HashMap,
    sync::{Arc, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use poem::{
    Route, get, handler,
    http::StatusCode,
    put,
    web::{Data, Json},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    State,
    limits::{Buckets, Limits},
};

/// Outage: a time during which every call to the API fails and has no effect.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Outage {
    /// Status code of the responses: 402, 429, 500 and the like.
    pub status: u16,
    /// Duration in seconds.
    pub seconds: u32,
    /// Seconds in the body's `retry_after`, as Replicate sends them with a 429.
    #[serde(default)]
    pub retry_after: Option<u32>,
    #[serde(skip)]
    until: Option<Timestamp>,
}

impl Outage {
    /// Creates an outage. It begins when the provider receives it.
    #[must_use]
    pub fn new(status: u16, seconds: u32, retry_after: Option<u32>) -> Self {
        Self {
            status,
            seconds,
            retry_after,
            until: None,
        }
    }
}

impl State {
    pub(super) fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reports(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fail(&self, outage: Outage) {
        let until = Some(Timestamp::now() + SignedDuration::from_secs(outage.seconds.into()));
        *self.outage.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Outage { until, ..outage });
    }

    /// Returns the current outage, if there is one.
    pub(super) fn outage(&self) -> Option<Outage> {
        let outage = *self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        outage.filter(|outage| outage.until.is_some_and(|until| Timestamp::now() < until))
    }
}

pub(super) fn routes() -> Route {
    Route::new()
        .at("/outage", put(put_outage))
        .at("/limits", put(put_limits))
        .at("/ledger", get(read_ledger))
}

#[handler]
fn put_outage(Data(state): Data<&Arc<State>>, Json(outage): Json<Outage>) -> StatusCode {
    state.fail(outage);
    StatusCode::NO_CONTENT
}

#[handler]
fn put_limits(Data(state): Data<&Arc<State>>, Json(limits): Json<Limits>) -> StatusCode {
    *state.buckets() = Buckets::new(limits);
    StatusCode::NO_CONTENT
}

#[handler]
fn read_ledger(Data(state): Data<&Arc<State>>) -> Json<Value> {
    let predictions = state.store.newest_first(|_| true, usize::MAX);
    let now = Timestamp::now();
    let entries: Vec<Value> = predictions
        .iter()
        .map(|prediction| {
            json!({
                "id": prediction.id,
                "status": prediction.status(now),
                "webhook": prediction.webhook,
                "created_at": prediction.created_at,
                "cancel_calls": prediction.cancel_calls,
            })
        })
        .collect();
    Json(json!({
        "creates": entries.len(),
        "calls": state.buckets().calls(),
        "predictions": entries,
    }))
}
