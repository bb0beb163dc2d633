//! Metrics of responses, by method, route and status.

use std::{sync::Arc, time::Instant};

use poem::{Endpoint, IntoResponse, Request, Response, http::Method};

use crate::{metrics, router::Methods};

/// Counts the response, and records its duration.
pub(super) async fn count<E: Endpoint>(
    methods: Arc<Methods>,
    next: Arc<E>,
    request: Request,
) -> poem::Result<Response> {
    let route = methods.route(request.uri().path()).to_owned();
    let (method, began) = (name(request.method()), Instant::now());
    let response = next.call(request).await?.into_response();
    metrics::answered(method, route, response.status().as_u16(), began.elapsed());
    Ok(response)
}

/// Returns the label of a method. Unknown ones are called `other`, as clients can send any number.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
