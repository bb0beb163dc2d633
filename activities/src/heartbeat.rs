//! Tells the server that an attempt lives, and hears what the server wants of it.
//!
//! The SDK's own heartbeats are queued and throttled: nobody learns whether one arrived, a late one may overwrite a newer
//! one, and all reasons for stopping look alike. Ours are plain RPCs, one after the other: when [`Heartbeat::record`]
//! returns, the server has it, and the answer tells a cancellation from a pause, a reset or an activity that is no more.
//! The SDK knows nothing of them: it would take an attempt for dead after the heartbeat timeout and drop its result, so now
//! and then it is told to beat as well, with the same details.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use darkroom_workflows::failure::FailureType;
use serde_json::Value;
use temporalio_client::{
    ActivityIdentifier, AsyncActivityHandle, Client, RpcOptions, errors::AsyncActivityError,
};
use temporalio_common::protos::TaskToken;
use temporalio_sdk::activities::ActivityContext;
use tokio::sync::{Mutex, watch};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::Instrument;

use crate::failure::Failure;

/// How often to beat: three times within the heartbeat timeout of the activity contract.
const INTERVAL: Duration = Duration::from_secs(3);

/// How often the SDK beats as well: not within its throttle, which is four fifths of the heartbeat timeout, and before it gives
/// the attempt up, which is 5 s after that timeout.
const SDK_INTERVAL: Duration = Duration::from_millis(8500);

/// How long the SDK may take to send a heartbeat.
const HEAD_START: Duration = Duration::from_millis(50);

/// How long to wait for the server's acknowledgement of a heartbeat.
const PATIENCE: Duration = Duration::from_secs(8);

/// What an attempt does about a worker that stops: the SDK tells nobody until its grace is over.
#[derive(Clone, Debug)]
pub struct Handover {
    stopping: CancellationToken,
    after: Duration,
}

impl Handover {
    /// Makes room this long after the worker has begun to stop.
    #[must_use]
    pub fn new(stopping: &CancellationToken, after: Duration) -> Self {
        Self {
            stopping: stopping.clone(),
            after,
        }
    }

    async fn due(&self) {
        self.stopping.cancelled().await;
        tokio::time::sleep(self.after).await;
    }
}

/// Why an attempt should stop before it is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interruption {
    /// The workflow wants the activity canceled.
    CancelRequested,
    /// This attempt is to make room, the work is not: a pause, a reset, a worker that stops.
    MakeRoom,
    /// The server no longer knows this attempt: another one runs, or nobody waits any more.
    Superseded,
}

impl From<Interruption> for Failure {
    fn from(interruption: Interruption) -> Self {
        match interruption {
            Interruption::CancelRequested => Self::Canceled,
            Interruption::MakeRoom => {
                let at_once = Duration::from_millis(1);
                Self::retry_after(
                    FailureType::Interrupted,
                    "this worker makes room for another attempt",
                    at_once,
                )
            }
            Interruption::Superseded => {
                Self::new(FailureType::Interrupted, "another attempt has taken over")
            }
        }
    }
}

/// Beats in the background until dropped.
pub struct Heartbeat {
    line: Arc<Line>,
    ctx: ActivityContext,
    _beating: AbortOnDropHandle<()>,
}

impl Heartbeat {
    /// Starts to beat. Details of an earlier attempt stay what they are until the first [`Heartbeat::record`].
    #[must_use]
    pub fn start(ctx: &ActivityContext, handover: Handover) -> Self {
        let token = TaskToken::from(ctx.info().task_token.clone());
        let handle =
            AsyncActivityHandle::new(ctx.client(), ActivityIdentifier::from_task_token(token));
        let earlier = ctx
            .heartbeat_details()
            .deserialize::<Value>()
            .ok()
            .flatten();
        let line = Arc::new(Line {
            handle,
            details: Mutex::new(earlier),
            interruption: watch::Sender::new(None),
        });
        let beating =
            tokio::spawn(beat(Arc::clone(&line), ctx.clone(), handover).in_current_span());
        Self {
            line,
            ctx: ctx.clone(),
            _beating: AbortOnDropHandle::new(beating),
        }
    }

    /// Records details for whoever comes after this attempt. On return the server has them, and
    /// [`Heartbeat::interruption`] tells what it answered.
    ///
    /// # Errors
    /// If the server did not acknowledge them.
    pub async fn record(&self, details: &impl serde::Serialize) -> Result<(), Failure> {
        let details = encode(details)?;
        let mut current = self.line.details.lock().await;
        *current = Some(details.clone());
        match self.line.send(Some(details)).await {
            Ok(()) => Ok(()),
            Err(AsyncActivityError::NotFound(_)) => Err(Interruption::Superseded.into()),
            Err(error) => Err(Failure::new(
                FailureType::Interrupted,
                format!("cannot record progress with Temporal: {error}"),
            )),
        }
    }

    /// Notes details that may arrive with the next beat.
    ///
    /// # Errors
    /// If they cannot be encoded.
    pub async fn note(&self, details: &impl serde::Serialize) -> Result<(), Failure> {
        *self.line.details.lock().await = Some(encode(details)?);
        Ok(())
    }

    /// Ends an attempt. The SDK reports a failure with the details that it knows, and the server takes those for the latest:
    /// without this, what was recorded since the SDK beat last would be gone.
    ///
    /// # Errors
    /// The attempt's own failure.
    pub async fn end<T>(self, result: Result<T, Failure>) -> Result<T, Failure> {
        if result.is_err()
            && let Some(details) = self.line.details.lock().await.clone()
            && let Err(error) = self.ctx.record_heartbeat(details).await
        {
            tracing::warn!(%error, "the SDK does not take a heartbeat");
        }
        result
    }

    /// Why this attempt should stop, if it should.
    #[must_use]
    pub fn interruption(&self) -> Option<Interruption> {
        *self.line.interruption.borrow()
    }

    /// Returns when this attempt should stop.
    pub async fn interrupted(&self) -> Interruption {
        match self
            .line
            .interruption
            .subscribe()
            .wait_for(Option::is_some)
            .await
        {
            Ok(interruption) => interruption.unwrap_or(Interruption::MakeRoom),
            // The sender lives as long as we do.
            Err(_) => Interruption::MakeRoom,
        }
    }

    /// Does the work unless this attempt should stop, which drops the work where it stands.
    ///
    /// # Errors
    /// The work's own failure, or the interruption.
    pub async fn until_interrupted<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            result = work => result,
            interruption = self.interrupted() => Err(interruption.into()),
        }
    }
}

fn encode(details: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(details).map_err(|error| {
        Failure::new(
            FailureType::Internal,
            format!("cannot encode heartbeat details: {error}"),
        )
    })
}

/// The line to the server. The lock keeps heartbeats in order: no older details arrive after newer ones.
struct Line {
    handle: AsyncActivityHandle<Client>,
    details: Mutex<Option<Value>>,
    interruption: watch::Sender<Option<Interruption>>,
}

impl Line {
    async fn send(&self, details: Option<Value>) -> Result<(), AsyncActivityError> {
        let options = RpcOptions::builder().timeout(PATIENCE).build();
        let answer = self.handle.heartbeat(details, options).await;
        match &answer {
            Ok(answer) if answer.cancel_requested => self.interrupt(Interruption::CancelRequested),
            Ok(answer) if answer.activity_paused || answer.activity_reset => {
                self.interrupt(Interruption::MakeRoom);
            }
            Err(AsyncActivityError::NotFound(_)) => self.interrupt(Interruption::Superseded),
            Ok(_) | Err(_) => {}
        }
        answer.map(|_| ())
    }

    fn interrupt(&self, interruption: Interruption) {
        self.interruption.send_replace(Some(interruption));
    }
}

async fn beat(line: Arc<Line>, ctx: ActivityContext, handover: Handover) {
    let mut due = std::pin::pin!(handover.due());
    // An attempt that comes again may be wanted no more: it hears so at once.
    let mut wait = if ctx.info().attempt > 1 {
        Duration::ZERO
    } else {
        INTERVAL
    };
    let mut sdk_beat: Option<Instant> = None;
    loop {
        let stops = tokio::select! {
            () = tokio::time::sleep(wait) => false,
            () = ctx.cancelled() => true,
            () = &mut due => true,
        };
        wait = INTERVAL;
        let details = line.details.lock().await;
        if !stops
            && sdk_beat.is_none_or(|last| last.elapsed() >= SDK_INTERVAL)
            && let Some(details) = &*details
        {
            if let Err(error) = ctx.record_heartbeat(details.clone()).await {
                tracing::warn!(%error, "the SDK does not take a heartbeat");
            }
            sdk_beat = Some(Instant::now());
            // It sends from elsewhere. What is recorded next must not be overtaken by it.
            tokio::time::sleep(HEAD_START).await;
        }
        if let Err(error) = line.send(details.clone()).await {
            tracing::warn!(%error, "heartbeat not acknowledged");
        }
        drop(details);
        if stops {
            // The SDK cancels for many reasons and does not say which. The server has just been asked: if it wants nothing,
            // it is the worker that stops.
            if line.interruption.borrow().is_none() {
                line.interrupt(Interruption::MakeRoom);
            }
            return;
        }
    }
}
