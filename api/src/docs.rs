//! The description, and the page to read and try it: Swagger UI, of which every file is part of the program.

use std::sync::Arc;

use bytes::Bytes;
use poem::{
    Endpoint, EndpointExt, Response,
    endpoint::make_sync,
    handler,
    http::{StatusCode, header},
    web::Path,
};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::Config;

use crate::problem::Problem;

/// The page may run what comes from here, and ask this api. Nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Leads to the page, wherever a proxy has put us.
#[handler]
pub(crate) fn begin() -> Response {
    lead()
}

/// The same from another path of ours.
pub(crate) fn lead() -> Response {
    Response::builder()
        .status(StatusCode::TEMPORARY_REDIRECT)
        .header(header::LOCATION, "docs/")
        .finish()
}

/// A file of the page.
#[handler]
pub(crate) fn file(Path(file): Path<String>) -> Result<Response, Problem> {
    let config = Config::from("../openapi.json")
        .display_operation_id(true)
        .try_it_out_enabled(true);
    let served = utoipa_swagger_ui::serve(&file, Arc::new(config)).map_err(|error| {
        tracing::error!(%error, file, "cannot serve a file of the page");
        Problem::internal()
    })?;
    let served = served.ok_or_else(|| Problem::not_found("path"))?;
    Ok(Response::builder()
        .content_type(&served.content_type)
        .header(header::CACHE_CONTROL, "no-cache")
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .body(served.bytes.into_owned()))
}

/// The description as JSON.
pub(crate) fn document(document: &OpenApi) -> impl Endpoint<Output = Response> + use<> {
    let body = Bytes::from(document.to_json().unwrap_or_default());
    make_sync(move |_| {
        Response::builder()
            .content_type("application/json")
            .header(header::CACHE_CONTROL, "no-cache")
            .body(body.clone())
    })
    .boxed()
}
