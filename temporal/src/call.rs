//! Timeouts of raw service calls, and the errors that mean that the server is unavailable.

use std::time::Duration;

use temporalio_client::tonic::{Code, IntoRequest, Request, Status};

/// Creates a raw call with a timeout.
pub(crate) fn with_timeout<T>(request: T, timeout: Duration) -> Request<T> {
    let mut request = request.into_request();
    request.set_timeout(timeout);
    request
}

/// Returns true if a call failed because the server is unavailable, overloaded or rate limiting.
/// The same call may succeed later.
#[must_use]
pub fn is_unavailable(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::ResourceExhausted
        | Code::Aborted
        // Streams that the server or a proxy resets, and errors within the server.
        | Code::Internal => true,
        // Errors of the transport have no code of their own, but a source.
        Code::Unknown => std::error::Error::source(status).is_some(),
        _ => false,
    }
}
