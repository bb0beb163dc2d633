//! The `OpenAPI` document, and Swagger UI to read and try it. Its files are embedded in the binary.

use std::{borrow::Cow, sync::Arc};

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

/// Content security policy of Swagger UI: files of this origin, and calls to this api. Nothing
/// else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Redirects to Swagger UI. The URL is relative, so that it works behind a proxy with a path
/// prefix.
#[handler]
pub(crate) fn begin() -> Response {
    redirect()
}

/// Returns the same redirect for another handler at the root.
pub(crate) fn redirect() -> Response {
    Response::builder()
        .status(StatusCode::TEMPORARY_REDIRECT)
        .header(header::LOCATION, "docs/")
        .finish()
}

/// Serves a file of Swagger UI.
#[handler]
pub(crate) fn file(Path(file): Path<String>) -> Result<Response, Problem> {
    let config = Config::from("../openapi.json")
        .display_operation_id(true)
        .try_it_out_enabled(true);
    let served = utoipa_swagger_ui::serve(&file, Arc::new(config)).map_err(|error| {
        tracing::error!(%error, file, "cannot serve a file of Swagger UI");
        Problem::internal()
    })?;
    let served = served.ok_or_else(|| Problem::not_found("path"))?;
    // The largest file has 1.5 MB: not copied for each request.
    let body = match served.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    Ok(Response::builder()
        .content_type(&served.content_type)
        .header(header::CACHE_CONTROL, "no-cache")
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .body(body))
}

/// Serves the `OpenAPI` document as JSON.
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
