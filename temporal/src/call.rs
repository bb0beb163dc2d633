//! Timeouts of raw calls, and the errors that mean that no server answers.

use std::time::Duration;

use temporalio_client::tonic::{Code, IntoRequest, Request, Status};

/// A raw call with a timeout.
pub(crate) fn with_timeout<T>(request: T, timeout: Duration) -> Request<T> {
    let mut request = request.into_request();
    request.set_timeout(timeout);
    request
}

/// True if a call failed for want of a server that answers, or because it answers too many: the
/// same call may succeed later.
#[must_use]
pub fn is_unavailable(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::ResourceExhausted
        | Code::Aborted => true,
        // The transport's own errors come without a code of their own.
        Code::Unknown => std::error::Error::source(status).is_some(),
        _ => false,
    }
}
