//! The HTTP API, as far as Darkroom uses Replicate's: reads, lists and cancels predictions, and
//! serves their files. Create calls, and the faults that they ask for, are in `creation`.

mod creation;

use std::sync::{Arc, atomic::Ordering};

use jiff::Timestamp;
use poem::{
    Endpoint, EndpointExt, IntoResponse, Request, Response, Route, get, handler,
    http::{Method, StatusCode, header},
    post,
    web::{Data, Json, Path, Query},
};
use serde::Deserialize;
use serde_json::{Value, json};

use self::creation::{create, create_for_model};
use super::{
    State, TOKEN,
    prediction::{HALF, Prediction},
    render, webhook,
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
        let mut body = json!({"title": status.canonical_reason(), "detail": "as configured", "status": outage.status});
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
            if prediction.lags(now) {
                json["status"] = "processing".into();
                json["completed_at"] = Value::Null;
                let files = json.pointer_mut("/output/files");
                if let Some(files) = files.and_then(Value::as_array_mut) {
                    files.truncate(1);
                }
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
        Some(prediction) if prediction.refuses_cancel() => written(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({"detail": "the cancel calls are overloaded"}),
        ),
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
            problem(StatusCode::GONE, "Gone", "as configured")
        } else {
            unknown()
        };
    };
    let fetched = state.store.count_fetch(&id, &file);
    if fetched <= prediction.script().fail_fetches {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "Unavailable",
            "as configured",
        );
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
