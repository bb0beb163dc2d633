//! The HTTP API, as far as Darkroom uses Replicate's: creates, reads, lists and cancels
//! predictions, and serves their files.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::stream;
use jiff::Timestamp;
use poem::{
    Body, Endpoint, EndpointExt, FromRequest, IntoResponse, Request, RequestBody, Response, Route,
    get, handler,
    http::{Method, StatusCode, header},
    post,
    web::{Data, Json, Path, Query},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    State, TOKEN,
    prediction::{HALF, Prediction},
    render,
    script::Script,
    webhook,
};

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

/// Middleware that responds during an outage, enforces rate limits and checks the token.
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
    if let Some(refused) = limited(&request) {
        return Ok(refused);
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

/// Returns the 429 response of a call that exceeds a rate limit.
fn limited(request: &Request) -> Option<Response> {
    let state = request.data::<Arc<State>>()?;
    let is_create = request.method() == Method::POST && !request.uri().path().ends_with("/cancel");
    let seconds = state.buckets().take(is_create).err()?;
    let status = StatusCode::TOO_MANY_REQUESTS;
    let detail = format!("Request was throttled. Expected available in {seconds} seconds.");
    let body = json!({"detail": detail, "status": status.as_u16(), "retry_after": seconds});
    Some(Json(body).with_status(status).into_response())
}

/// Body of a create call. Unknown fields are rejected, as Replicate rejects them.
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
    /// Accepted from old clients, and ignored.
    #[serde(default, rename = "stream")]
    _stream: Option<bool>,
    /// Value of the header `Cancel-After`.
    #[serde(skip)]
    cancel_after: Option<Duration>,
}

impl<'a> FromRequest<'a> for Creation {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        let bytes = body.take()?.into_bytes_limit(1024 * 1024).await?;
        let refused = |field: &str, description: &str| {
            let field = json!({"type": "invalid", "field": field, "description": description});
            poem::Error::from_response(invalid(description, &field))
        };
        let mut creation: Self =
            serde_json::from_slice(&bytes).map_err(|error| refused("body", &error.to_string()))?;
        creation.cancel_after = request
            .header("cancel-after")
            .map(|text| cancel_after(text).ok_or_else(|| refused("Cancel-After", "makes no sense")))
            .transpose()?;
        Ok(creation)
    }
}

/// Parses `Cancel-After`: `30`, `30s` or `5m`, five seconds or more.
/// <https://replicate.com/docs/topics/predictions/lifecycle>
fn cancel_after(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.trim_end_matches('s'), 1),
    };
    let after = Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(unit)?);
    (after >= Duration::from_secs(5)).then_some(after)
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
        let places = json!([{"loc": ["body", "input", "seed"], "msg": "must be whole"}]);
        let detail = if script.refuse_with_list {
            places
        } else {
            "as told".into()
        };
        let body = json!({"title": status.canonical_reason(), "detail": detail, "status": status.as_u16()});
        return Json(body).with_status(status).into_response();
    }
    if let Some(status) = script
        .answer_status
        .and_then(|status| StatusCode::from_u16(status).ok())
    {
        match script.taken_after {
            Some(after) if after.is_zero() => {
                let _ = take(state, model, creation, &script);
            }
            Some(after) => {
                let (state, script) = (Arc::clone(state), script.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    take(&state, model, creation, &script)
                });
            }
            None => {}
        }
        return if script.answer_html {
            Response::builder()
                .status(status)
                .content_type("text/html")
                .body(format!("<html><h1>{status}</h1></html>"))
        } else {
            problem(
                status,
                status.canonical_reason().unwrap_or_default(),
                "as told",
            )
        };
    }
    let prediction = match take(state, model, creation, &script) {
        Ok(prediction) => prediction,
        Err(error) => {
            return problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Internal error",
                &error.to_string(),
            );
        }
    };
    let answer = prediction.to_json(&state.origin, prediction.created_at);
    if let Some(delay) = script.answer_delay {
        tokio::time::sleep(delay).await;
    }
    if script.drop_answer {
        let broken = stream::iter([Err::<Vec<u8>, _>(io::Error::other("dropped, as told"))]);
        return Response::builder()
            .status(StatusCode::CREATED)
            .body(Body::from_bytes_stream(broken));
    }
    written(StatusCode::CREATED, &answer)
}

/// Creates the prediction.
fn take(
    state: &Arc<State>,
    model: String,
    creation: Creation,
    script: &Script,
) -> io::Result<Prediction> {
    let Creation {
        input,
        webhook,
        webhook_events_filter,
        cancel_after,
        ..
    } = creation;
    let latency = script.latency.unwrap_or(state.latency);
    let prediction = Prediction::new(
        model,
        input,
        webhook,
        webhook_events_filter,
        Timestamp::now(),
        latency,
        cancel_after,
    );
    state.store.put(prediction.clone())?;
    webhook::report_end(state, &prediction);
    Ok(prediction)
}

/// Response with a prediction.
fn written(status: StatusCode, prediction: &Value) -> Response {
    Response::builder()
        .status(status)
        .content_type("application/json")
        .body(prediction.to_string().replace(HALF, "\\ud83d"))
}

#[handler]
fn read(Data(state): Data<&Arc<State>>, Path(id): Path<String>) -> Response {
    let now = Timestamp::now();
    match state.store.get(&id) {
        Some(prediction) if !prediction.is_not_found(now) => {
            let mut json = prediction.to_json(&state.origin, now);
            if prediction.status(now).is_terminal()
                && let Some(urls) = prediction.script().urls_later
                && state.store.count_fetch(&id, "the prediction") > 1
            {
                json["output"] = json!(urls);
            }
            written(StatusCode::OK, &json)
        }
        Some(_) | None => unknown(),
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
            written(StatusCode::OK, &prediction.to_json(&state.origin, now))
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

/// Lists predictions, newest first, 100 per page. The entries carry neither input nor webhook, as
/// Replicate does not promise them.
#[handler]
fn list(Data(state): Data<&Arc<State>>, Query(range): Query<Range>) -> Response {
    const PAGE: usize = 100;
    if !state.lists.load(Ordering::Relaxed) {
        return unknown();
    }
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
        let bound = |name: &str, time: Option<Timestamp>| {
            time.map(|time| format!("&{name}={time}"))
                .unwrap_or_default()
        };
        format!(
            "{}/v1/predictions?cursor={}{}{}",
            state.origin,
            last.id,
            bound("created_after", range.created_after),
            bound("created_before", range.created_before)
        )
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
        return if prediction.is_scripted_missing(&file) {
            problem(StatusCode::GONE, "Gone", "as told")
        } else {
            unknown()
        };
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
