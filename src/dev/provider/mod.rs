//! A provider that speaks Replicate's contract over real HTTP and renders real pictures, for a first look without paying
//! and for tests. Its predictions lie on disk, so that it forgets nothing when it is killed.
//!
//! - [`prediction`]: what a prediction is and how it stands at a moment
//! - `store`: the predictions, in memory and on disk
//! - `render`: pictures

pub mod prediction;

mod render;
mod store;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use jiff::Timestamp;
use poem::{
    Endpoint, EndpointExt, FromRequest, IntoResponse, Request, RequestBody, Response, Route, Server, get, handler,
    http::{StatusCode, header},
    listener::TcpAcceptor,
    post,
    web::{Data, Json, Path as UrlPath, Query},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};

use self::{
    prediction::{Prediction, Script},
    store::Store,
};

/// The token that the provider takes.
pub const TOKEN: &str = "darkroom-on-loopback";

/// A running provider. Dropping it stops it.
pub struct ProviderServer {
    /// Its API's base URL, `/v1` included.
    pub base_url: String,
    state: Arc<State>,
    serving: AbortHandle,
}

impl ProviderServer {
    /// Serves, with its predictions below `directory`.
    ///
    /// # Errors
    /// If the directory cannot be used.
    pub fn start(directory: &Path, listener: TcpListener, latency: Duration) -> Result<Self> {
        let origin = format!("http://{}", listener.local_addr()?);
        let store = Store::open(directory).with_context(|| format!("cannot use {}", directory.display()))?;
        let state = Arc::new(State { store, origin: origin.clone(), latency });
        let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?);
        let routes = routes(Arc::clone(&state));
        let serving = tokio::spawn(async move {
            // It ends with this process, or is aborted.
            let _ = server.run(routes).await;
        });
        Ok(Self { base_url: format!("{origin}/v1"), state, serving: serving.abort_handle() })
    }

    /// How many predictions were ever created: what a paying user would be charged for.
    #[must_use]
    pub fn created(&self) -> usize {
        self.state.store.len()
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
}

fn routes(state: Arc<State>) -> impl Endpoint {
    let api = Route::new()
        .at("/predictions", get(list).post(create))
        .at("/predictions/:id", get(read))
        .at("/predictions/:id/cancel", post(cancel))
        .at("/models/:owner/:name/predictions", post(create_for_model))
        .around(authorized);
    Route::new().nest("/v1", api).at("/files/:id/:file", get(file)).data(state)
}

async fn authorized<E: Endpoint>(endpoint: Arc<E>, request: Request) -> poem::Result<Response> {
    let expected = format!("Bearer {TOKEN}");
    if request.header(header::AUTHORIZATION) != Some(expected.as_str()) {
        return Ok(problem(StatusCode::UNAUTHORIZED, "Unauthenticated", "You did not pass a valid token"));
    }
    endpoint.call(request).await.map(IntoResponse::into_response)
}

/// The body of a create call. Unknown fields are refused, as Replicate refuses them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Creation {
    #[serde(default)]
    version: Option<String>,
    input: serde_json::Map<String, Value>,
    #[serde(default)]
    webhook: Option<String>,
    #[serde(default)]
    webhook_events_filter: Vec<String>,
}

/// A body as Replicate reads it: what does not parse is a 422.
struct Body(Creation);

impl<'a> FromRequest<'a> for Body {
    async fn from_request(_: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        let bytes = body.take()?.into_bytes_limit(1024 * 1024).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let response = problem(StatusCode::UNPROCESSABLE_ENTITY, "Input validation failed", &error.to_string());
            poem::Error::from_response(response)
        })
    }
}

#[handler]
fn create(Data(state): Data<&Arc<State>>, Body(creation): Body) -> Response {
    match creation.version.clone() {
        Some(model) => accept(state, model, creation),
        None => problem(StatusCode::UNPROCESSABLE_ENTITY, "Input validation failed", "version is required"),
    }
}

#[handler]
fn create_for_model(
    Data(state): Data<&Arc<State>>,
    UrlPath((owner, name)): UrlPath<(String, String)>,
    Body(creation): Body,
) -> Response {
    accept(state, format!("{owner}/{name}"), creation)
}

fn accept(state: &State, model: String, creation: Creation) -> Response {
    let script = match Script::of(&creation.input) {
        Ok(script) => script,
        Err(error) => {
            return problem(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Input validation failed",
                &format!("input.dev: {error}"),
            );
        }
    };
    let now = Timestamp::now();
    let Creation { input, webhook, webhook_events_filter, .. } = creation;
    let latency = script.latency.unwrap_or(state.latency);
    let prediction = Prediction::new(model, input, webhook, webhook_events_filter, now, latency);
    let answer = prediction.to_json(&state.origin, now);
    match state.store.put(prediction) {
        Ok(()) => Json(answer).with_status(StatusCode::CREATED).into_response(),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", &error.to_string()),
    }
}

#[handler]
fn read(Data(state): Data<&Arc<State>>, UrlPath(id): UrlPath<String>) -> Response {
    match state.store.get(&id) {
        Some(prediction) => Json(prediction.to_json(&state.origin, Timestamp::now())).into_response(),
        None => unknown(),
    }
}

#[handler]
fn cancel(Data(state): Data<&Arc<State>>, UrlPath(id): UrlPath<String>) -> Response {
    let now = Timestamp::now();
    match state.store.change(&id, |prediction| prediction.cancel(now)) {
        Some(prediction) => Json(prediction.to_json(&state.origin, now)).into_response(),
        None => unknown(),
    }
}

#[derive(Deserialize)]
struct Range {
    created_after: Option<Timestamp>,
    created_before: Option<Timestamp>,
    cursor: Option<String>,
}

/// Newest first, 100 a page. As the contract leaves open what entries carry, these carry no input and no webhook.
#[handler]
fn list(Data(state): Data<&Arc<State>>, Query(range): Query<Range>) -> Response {
    const PAGE: usize = 100;
    let now = Timestamp::now();
    let in_range = |prediction: &Prediction| {
        range.created_after.is_none_or(|after| prediction.created_at > after)
            && range.created_before.is_none_or(|before| prediction.created_at < before)
            && range.cursor.as_ref().is_none_or(|cursor| prediction.id < *cursor)
    };
    let mut found = state.store.newest_first(in_range, PAGE + 1);
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let next = more.then(|| found.last()).flatten().map(|last| {
        let after = range.created_after.map(|after| format!("&created_after={after}")).unwrap_or_default();
        format!("{}/v1/predictions?cursor={}{after}", state.origin, last.id)
    });
    let results: Vec<Value> = found.iter().map(|prediction| prediction.to_entry(&state.origin, now)).collect();
    Json(json!({"next": next, "previous": null, "results": results})).into_response()
}

#[handler]
async fn file(Data(state): Data<&Arc<State>>, UrlPath((id, file)): UrlPath<(String, String)>) -> Response {
    let Some(prediction) = state.store.get(&id) else { return unknown() };
    let Some(picture) = prediction.file(&file, Timestamp::now()) else { return unknown() };
    let rendered = tokio::task::spawn_blocking(move || render::render(&picture)).await;
    match rendered {
        Ok(Ok(bytes)) => Response::builder().content_type("application/octet-stream").body(bytes),
        Ok(Err(error)) => problem(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", &format!("{error:#}")),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", &error.to_string()),
    }
}

fn unknown() -> Response {
    problem(StatusCode::NOT_FOUND, "Not found", "The requested resource could not be found")
}

fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    Json(json!({"title": title, "detail": detail, "status": status.as_u16()})).with_status(status).into_response()
}
