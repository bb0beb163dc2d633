//! Records of an attempt that is not to be repeated, acknowledged by the server. Neither the SDK
//! nor [`crate::heartbeat`] may heartbeat for such an attempt, so that no older record comes after
//! a newer one.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;
use temporalio_client::{
    ActivityIdentifier, AsyncActivityHandle, Client, RpcOptions, errors::AsyncActivityError,
};
use temporalio_common::protos::TaskToken;
use temporalio_sdk::activities::ActivityContext;

/// Timeout of one call.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between two calls.
const PAUSE: Duration = Duration::from_millis(250);

/// Recorder of one attempt.
pub struct Recorder {
    handle: AsyncActivityHandle<Client>,
    /// True if a record was sent whose acknowledgement did not come: the server may receive it yet.
    is_one_astray: AtomicBool,
}

/// The server's answer to a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The attempt goes on.
    Continue,
    /// The attempt is to stop: it is canceled, paused or reset.
    Stop,
}

/// The server no longer knows the attempt: it was declared timed out, or its workflow has closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Superseded;

impl Recorder {
    /// A recorder of an attempt.
    #[must_use]
    pub fn new(ctx: &ActivityContext) -> Self {
        let token = TaskToken::from(ctx.info().task_token.clone());
        let identifier = ActivityIdentifier::from_task_token(token);
        Self {
            handle: AsyncActivityHandle::new(ctx.client(), identifier),
            is_one_astray: AtomicBool::new(false),
        }
    }

    /// Records once. `None` if no acknowledgement came.
    ///
    /// # Errors
    /// If the server no longer knows the attempt.
    pub async fn try_record(&self, record: &impl Serialize) -> Result<Option<Answer>, Superseded> {
        let details = serde_json::to_value(record).unwrap_or(Value::Null);
        let options = RpcOptions::builder().timeout(TIMEOUT).build();
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
                self.is_one_astray.store(true, Ordering::Relaxed);
                tokio::time::sleep(PAUSE).await;
                Ok(None)
            }
        }
    }

    /// Records for as long as it takes.
    ///
    /// # Errors
    /// If the server no longer knows the attempt.
    pub async fn record(&self, record: &impl Serialize) -> Result<(), Superseded> {
        while self.try_record(record).await?.is_none() {}
        if self.is_one_astray.swap(false, Ordering::Relaxed) {
            // An older record that is still on its way must not be the last to arrive.
            tokio::time::sleep(PAUSE).await;
            while self.try_record(record).await?.is_none() {}
        }
        Ok(())
    }
}
