//! Receives webhooks, and verifies them with the Standard Webhooks library.
//!
//! Prints the type of each event and the id of its job. What does not verify is refused with 401.
//!
//! ```sh
//! export DARKROOM_WEBHOOK_SECRET=whsec_…   # the key from GET /v1/webhooks/secret
//! PORT=8000 cargo run --example receive    # and create a job with this webhook_url
//! ```

#![expect(
    clippy::print_stdout,
    reason = "the events are what the example prints"
)]

use std::{env, sync::Arc};

use anyhow::{Context, Result, ensure};
use poem::{
    Body, EndpointExt, Route, Server, handler,
    http::{HeaderMap, StatusCode},
    listener::TcpListener,
    post,
    web::Data,
};
use serde::Deserialize;
use standardwebhooks::Webhook;

const MAX_BODY: usize = 1024 * 1024;

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    data: EventData,
}

#[derive(Deserialize)]
struct EventData {
    job_id: String,
}

#[handler]
async fn receive(
    Data(webhook): Data<&Arc<Webhook>>,
    headers: &HeaderMap,
    body: Body,
) -> poem::Result<StatusCode> {
    // The signature is of these bytes: JSON that was parsed and written again is another text.
    let body = body.into_bytes_limit(MAX_BODY).await?;
    if webhook.verify(&body, headers).is_err() {
        return Ok(StatusCode::UNAUTHORIZED);
    }
    let Ok(event) = serde_json::from_slice::<Event>(&body) else {
        return Ok(StatusCode::BAD_REQUEST);
    };
    // A message may come more than once, with the same webhook-id: make your own work idempotent
    // by it. And answer within 15 seconds; what takes longer belongs into a queue.
    println!("{} {}", event.kind, event.data.job_id);
    Ok(StatusCode::NO_CONTENT)
}

#[tokio::main]
async fn main() -> Result<()> {
    let secret = env::var("DARKROOM_WEBHOOK_SECRET").context("DARKROOM_WEBHOOK_SECRET")?;
    // The library takes an empty secret for a key, and then anyone could sign.
    ensure!(!secret.is_empty(), "DARKROOM_WEBHOOK_SECRET is empty");
    let webhook = Arc::new(Webhook::new(&secret)?);
    let port = env::var("PORT").unwrap_or_else(|_| "8000".to_owned());
    let route = Route::new().at("/*path", post(receive)).data(webhook);
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"));
    Ok(Server::new(listener).run(route).await?)
}
