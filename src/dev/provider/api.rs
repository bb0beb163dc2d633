//! The contract: predictions are created, read, listed and canceled, and their files fetched.

use std::{io, sync::Arc};

use futures::stream;
use jiff::Timestamp;
use poem::{
    Body, Endpoint, EndpointExt, FromRequest, IntoResponse, Request, RequestBody, Response, Route,
    get, handler,
    http::{StatusCode, header},
    post,
    web::{Data, Json, Path, Query},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{State, TOKEN, prediction::Prediction, render, script::Script, webhook};

pub(super) fn routes() -> impl Endpoint {
    Route::new()
        .at("/predictions", get(list).post(create))
        .at("/predictions/:id", get(read))
        .at("/predictions/:id/cancel", post(cancel))
        .at("/models/:owner/:name/predictions", post(create_for_model))
        .at(
            "/deployments/:owner/:name/predictions",
            post(create_for_model),
        )
        .at("/webhooks/default/secret", get(secret))
        .around(guarded)
}

pub(super) fn files() -> Route {
    Route::new().at("/:id/:file", get(file))
}

/// Answers for an outage, and to those who do not show the token.
async fn guarded<E: Endpoint>(endpoint: Arc<E>, request: Request) -> poem::Result<Response> {
    if let Some(outage) = request
        .data::<Arc<State>>()
        .and_then(|state| state.outage())
    {
        let status =
            StatusCode::from_u16(outage.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body = json!({"title": status.canonical_reason(), "detail": "as told", "status": outage.status});
        if let Some(seconds) = outage.retry_after {
            body["retry_after"] = seconds.into();
        }
        return Ok(Json(body).with_status(status).into_response());
    }
    let authorization = request.header(header::AUTHORIZATION).unwrap_or_default();
    let token = authorization
        .strip_prefix("Bearer ")
        .or_else(|| authorization.strip_prefix("Token "));
    if token != Some(TOKEN) {
        return Ok(problem(
            StatusCode::UNAUTHORIZED,
            "Unauthenticated",
            "You did not pass a valid token",
        ));
    }
    endpoint
        .call(request)
        .await
        .map(IntoResponse::into_response)
}

/// The body of a create call. Unknown fields are refused, as Replicate refuses them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Creation {
    #[serde(default)]
    version: Option<String>,
    input: Map<String, Value>,
    #[serde(default)]
    webhook: Option<String>,
    #[serde(default)]
    webhook_events_filter: Vec<String>,
    /// Taken from old clients and without meaning here.
    #[serde(default, rename = "stream")]
    _stream: Option<bool>,
}

impl<'a> FromRequest<'a> for Creation {
    async fn from_request(_: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        let bytes = body.take()?.into_bytes_limit(1024 * 1024).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let field =
                json!({"type": "invalid", "field": "body", "description": error.to_string()});
            poem::Error::from_response(invalid(&error.to_string(), &field))
        })
    }
}

#[handler]
async fn create(Data(state): Data<&Arc<State>>, creation: Creation) -> Response {
    match creation.version.clone() {
        Some(model) => accept(state, model, creation).await,
        None => invalid(
            "version is required",
            &json!({"type": "required", "field": "version", "description": "is required"}),
        ),
    }
}

#[handler]
async fn create_for_model(
    Data(state): Data<&Arc<State>>,
    Path((owner, name)): Path<(String, String)>,
    creation: Creation,
) -> Response {
    accept(state, format!("{owner}/{name}"), creation).await
}

async fn accept(state: &Arc<State>, model: String, creation: Creation) -> Response {
    let script = match Script::of(&creation.input) {
        Ok(script) => script,
        Err(error) => {
            let field =
                json!({"type": "invalid", "field": "input.dev", "description": error.to_string()});
            return invalid(&format!("input.dev: {error}"), &field);
        }
    };
    if let Some(status) = script
        .refuse
        .and_then(|status| StatusCode::from_u16(status).ok())
    {
        return problem(
            status,
            status.canonical_reason().unwrap_or_default(),
            "as told",
        );
    }
    let now = Timestamp::now();
    let latency = script.latency.unwrap_or(state.latency);
    let Creation {
        input,
        webhook,
        webhook_events_filter,
        ..
    } = creation;
    let prediction = Prediction::new(model, input, webhook, webhook_events_filter, now, latency);
    let answer = prediction.to_json(&state.origin, now);
    if let Err(error) = state.store.put(prediction.clone()) {
        return problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal error",
            &error.to_string(),
        );
    }
    webhook::report_end(state, &prediction);
    if let Some(delay) = script.answer_delay {
        tokio::time::sleep(delay).await;
    }
    if script.drop_answer {
        let broken = stream::iter([Err::<Vec<u8>, _>(io::Error::other("dropped, as told"))]);
        return Response::builder()
            .status(StatusCode::CREATED)
            .body(Body::from_bytes_stream(broken));
    }
    Json(answer)
        .with_status(StatusCode::CREATED)
        .into_response()
}

#[handler]
fn read(Data(state): Data<&Arc<State>>, Path(id): Path<String>) -> Response {
    match state.store.get(&id) {
        Some(prediction) => {
            let now = Timestamp::now();
            let mut json = prediction.to_json(&state.origin, now);
            if prediction.status(now).is_terminal()
                && let Some(urls) = prediction.script().urls_later
                && state.store.count_fetch(&id, "the prediction") > 1
            {
                json["output"] = json!(urls);
            }
            Json(json).into_response()
        }
        None => unknown(),
    }
}

#[handler]
fn cancel(Data(state): Data<&Arc<State>>, Path(id): Path<String>) -> Response {
    let now = Timestamp::now();
    let mut stopped = false;
    let changed = state
        .store
        .change(&id, |prediction| stopped = prediction.cancel(now));
    match changed {
        Some(prediction) => {
            if stopped {
                webhook::report_cancellation(state, &prediction);
            }
            Json(prediction.to_json(&state.origin, now)).into_response()
        }
        None => unknown(),
    }
}

#[handler]
fn secret() -> Json<Value> {
    Json(json!({"key": webhook::SECRET}))
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
        range
            .created_after
            .is_none_or(|after| prediction.created_at > after)
            && range
                .created_before
                .is_none_or(|before| prediction.created_at < before)
            && !prediction.is_hidden(now)
            && range
                .cursor
                .as_ref()
                .is_none_or(|cursor| prediction.id < *cursor)
    };
    let mut found = state.store.newest_first(in_range, PAGE + 1);
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let next = more.then(|| found.last()).flatten().map(|last| {
        let after = range
            .created_after
            .map(|after| format!("&created_after={after}"))
            .unwrap_or_default();
        format!("{}/v1/predictions?cursor={}{after}", state.origin, last.id)
    });
    let results: Vec<Value> = found
        .iter()
        .map(|prediction| prediction.to_entry(&state.origin, now))
        .collect();
    Json(json!({"next": next, "previous": null, "results": results})).into_response()
}

#[handler]
async fn file(
    Data(state): Data<&Arc<State>>,
    Path((id, file)): Path<(String, String)>,
) -> Response {
    let Some(prediction) = state.store.get(&id) else {
        return unknown();
    };
    let Some(picture) = prediction.file(&file, Timestamp::now()) else {
        return unknown();
    };
    let fetched = state.store.count_fetch(&id, &file);
    if fetched <= prediction.script().fail_fetches {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", "as told");
    }
    let rendered = tokio::task::spawn_blocking(move || render::render(&picture)).await;
    match rendered {
        Ok(Ok(bytes)) => Response::builder()
            .content_type("application/octet-stream")
            .body(bytes),
        Ok(Err(error)) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal error",
            &format!("{error:#}"),
        ),
        Err(error) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal error",
            &error.to_string(),
        ),
    }
}

fn unknown() -> Response {
    problem(
        StatusCode::NOT_FOUND,
        "Not found",
        "The requested resource could not be found",
    )
}

fn invalid(detail: &str, field: &Value) -> Response {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let body = json!({"title": "Input validation failed", "detail": detail, "status": 422, "invalid_fields": [field]});
    Json(body).with_status(status).into_response()
}

fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    Json(json!({"title": title, "detail": detail, "status": status.as_u16()}))
        .with_status(status)
        .into_response()
}
