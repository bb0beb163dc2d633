//! Records of an attempt that is never retried, as heartbeat details that the server acknowledges.
//! Neither the SDK nor [`crate::heartbeat`] may heartbeat for such an attempt: one of their
//! heartbeats could overwrite a newer record with an older one.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;
use temporalio_client::{
    AsyncActivityHandle, Client, RetryOptions, RpcOptions, errors::AsyncActivityError,
};
use temporalio_sdk::activities::ActivityContext;

use crate::heartbeat::attempt_handle;

/// Timeout of one call.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Backoff before the next call.
const PAUSE: Duration = Duration::from_millis(250);

/// Recorder of one attempt.
pub struct Recorder {
    handle: AsyncActivityHandle<Client>,
    /// True if a record was not acknowledged: the server may still receive it.
    has_unacknowledged: AtomicBool,
}

/// The server's response to a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The attempt may continue.
    Continue,
    /// The attempt has to stop: its activity is canceled, paused or reset.
    Stop,
}

/// Error: the server no longer knows the attempt. It was declared timed out, or its workflow has
/// closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Superseded;

impl Recorder {
    /// Creates the recorder of an attempt.
    #[must_use]
    pub fn new(ctx: &ActivityContext) -> Self {
        Self {
            handle: attempt_handle(ctx),
            has_unacknowledged: AtomicBool::new(false),
        }
    }

    /// Sends a record once. Returns `None` if it was not acknowledged.
    ///
    /// # Errors
    /// If the server no longer knows the attempt.
    pub async fn try_record(&self, record: &impl Serialize) -> Result<Option<Answer>, Superseded> {
        let details = serde_json::to_value(record).unwrap_or(Value::Null);
        // The client would retry for ten seconds, unseen.
        let options = RpcOptions::builder()
            .timeout(TIMEOUT)
            .retry_options(RetryOptions::no_retries())
            .build();
        match self.handle.heartbeat(Some(details), options).await {
            Ok(answer)
                if answer.cancel_requested || answer.activity_paused || answer.activity_reset =>
            {
                Ok(Some(Answer::Stop))
            }
            Ok(_) => Ok(Some(Answer::Continue)),
            Err(AsyncActivityError::NotFound(_)) => Err(Superseded),
            Err(error) => {
                tracing::warn!(%error, "a record was not acknowledged");
                self.has_unacknowledged.store(true, Ordering::Relaxed);
                tokio::time::sleep(PAUSE).await;
                Ok(None)
            }
        }
    }

    /// Sends a record until it is acknowledged, however long that takes.
    ///
    /// # Errors
    /// If the server no longer knows the attempt.
    pub async fn record(&self, record: &impl Serialize) -> Result<(), Superseded> {
        while self.try_record(record).await?.is_none() {}
        if self.has_unacknowledged.swap(false, Ordering::Relaxed) {
            // An earlier record may still be on its way. It must not be the last to arrive.
            tokio::time::sleep(PAUSE).await;
            while self.try_record(record).await?.is_none() {}
        }
        Ok(())
    }
}
