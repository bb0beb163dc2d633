//! Recording what an attempt at `generate` does, acknowledged by the server. Nothing else of ours or of the SDK's beats for such
//! an attempt, so no older record can come after a newer one.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use darkroom_workflows::contract::generate::GenerateRecord;
use serde_json::Value;
use temporalio_client::{
    ActivityIdentifier, AsyncActivityHandle, Client, RpcOptions, errors::AsyncActivityError,
};
use temporalio_common::protos::TaskToken;
use temporalio_sdk::activities::ActivityContext;

/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait between tries.
const PAUSE: Duration = Duration::from_millis(250);

/// The line to the server.
pub(super) struct Recorder {
    handle: AsyncActivityHandle<Client>,
    /// Whether a record was sent whose acknowledgement did not come: the server may get it yet.
    is_one_astray: AtomicBool,
}

/// What the server wants of the attempt, as its acknowledgement says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    /// To go on.
    GoOn,
    /// To stop: it is canceled, paused or reset.
    Stop,
}

/// The server no longer knows the attempt: it was declared timed out, or its workflow has closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Superseded;

impl Recorder {
    pub(super) fn new(ctx: &ActivityContext) -> Self {
        let token = TaskToken::from(ctx.info().task_token.clone());
        let identifier = ActivityIdentifier::from_task_token(token);
        Self {
            handle: AsyncActivityHandle::new(ctx.client(), identifier),
            is_one_astray: AtomicBool::new(false),
        }
    }

    /// Records once. `None` if no acknowledgement came.
    pub(super) async fn try_record(
        &self,
        record: &GenerateRecord,
    ) -> Result<Option<Wanted>, Superseded> {
        let details = serde_json::to_value(record).unwrap_or(Value::Null);
        let options = RpcOptions::builder().timeout(TIMEOUT).build();
        match self.handle.heartbeat(Some(details), options).await {
            Ok(answer)
                if answer.cancel_requested || answer.activity_paused || answer.activity_reset =>
            {
                Ok(Some(Wanted::Stop))
            }
            Ok(_) => Ok(Some(Wanted::GoOn)),
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
    pub(super) async fn record(&self, record: &GenerateRecord) -> Result<(), Superseded> {
        while self.try_record(record).await?.is_none() {}
        if self.is_one_astray.swap(false, Ordering::Relaxed) {
            // An older one that is still under way must not be the last.
            tokio::time::sleep(PAUSE).await;
            while self.try_record(record).await?.is_none() {}
        }
        Ok(())
    }
}
