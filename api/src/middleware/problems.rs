//! Conversion of errors into responses: outside of this layer there are only responses.

use std::sync::Arc;

use poem::{Endpoint, IntoResponse, Request, Response};

use super::request_id::RequestId;
use crate::problem::Problem;

/// Converts an error into a problem that names its request.
pub(super) async fn answer<E: Endpoint>(next: Arc<E>, request: Request) -> poem::Result<Response> {
    let path = request.uri().path().to_owned();
    let id = request.extensions().get::<RequestId>().cloned();
    Ok(match next.call(request).await {
        Ok(response) => response.into_response(),
        Err(error) => Problem::from(error).of_request(path, id).into_response(),
    })
}
