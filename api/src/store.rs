//! Reads of the store while a caller waits: within a timeout, and with a problem for the caller.
//! The log has the error.

use std::{fmt::Display, time::Duration};

use darkroom_storage::StorageError;
use futures::{FutureExt, future::BoxFuture};
use tokio::time::timeout;

use crate::problem::Problem;

/// Timeout of the store while a caller waits.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Returns what the store answers; `what` names it in the log.
///
/// # Errors
/// If the store fails, or does not answer in time.
pub(crate) fn answer<'a, T: 'a>(
    what: impl Display + Send + 'a,
    answer: impl Future<Output = Result<T, StorageError>> + Send + 'a,
) -> BoxFuture<'a, Result<T, Problem>> {
    let answering = timeout(TIMEOUT, answer);
    let answered = answering.map(move |answered| match answered {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            tracing::error!(%what, %error, "cannot read the store");
            Err(Problem::storage_unavailable())
        }
        Err(_) => Err(Problem::storage_unavailable()),
    });
    answered.boxed()
}
