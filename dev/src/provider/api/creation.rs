//! Create calls, with the faults that a request asks for in `input.dev`.

use std::{io, sync::Arc, time::Duration};

use futures::stream;
use jiff::Timestamp;
use poem::{
    Body, FromRequest, IntoResponse, Request, RequestBody, Response, handler,
    http::StatusCode,
    web::{Data, Json, Path},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{invalid, problem, written};
use crate::provider::{State, prediction::Prediction, script::Script, webhook};

/// Body of a create call. Unknown fields are rejected, as Replicate rejects them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Creation {
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
pub(super) async fn create(Data(state): Data<&Arc<State>>, creation: Creation) -> Response {
    match creation.version.clone() {
        Some(model) => accept(state, model, creation).await,
        None => invalid(
            "version is required",
            &json!({"type": "required", "field": "version", "description": "is required"}),
        ),
    }
}

#[handler]
pub(super) async fn create_for_model(
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
            "as configured".into()
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
                "as configured",
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
        let broken = stream::iter([Err::<Vec<u8>, _>(io::Error::other(
            "dropped, as configured",
        ))]);
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
