//! Heartbeats of an activity that the server acknowledges, and what its answers ask of the attempt.
//!
//! The SDK's own heartbeats are queued and throttled: nobody learns whether one arrived, a late one
//! may overwrite a newer one, and all reasons for stopping look alike. These are plain RPCs, one
//! after the other: when [`Heartbeat::record`] returns, the server has it, and the answer tells a
//! cancellation from a pause, a reset or an activity that is no more.
//!
//! The SDK knows nothing of them: it would time the attempt out and drop its result. So now and
//! then it heartbeats as well, with the same details. See [`crate::workarounds`].

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::Value;
use temporalio_client::{
    ActivityIdentifier, AsyncActivityHandle, Client, RpcOptions, errors::AsyncActivityError,
};
use temporalio_common::protos::TaskToken;
use temporalio_sdk::activities::ActivityContext;
use tokio::sync::{Mutex, watch};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::Instrument;

/// Interval of heartbeats: three within a heartbeat timeout of 10 s.
const INTERVAL: Duration = Duration::from_secs(3);

/// Interval of the SDK's heartbeats: not within its throttle, which is four fifths of the heartbeat
/// timeout, and before it gives the attempt up, which is 5 s after that timeout.
const SDK_INTERVAL: Duration = Duration::from_millis(8500);

/// Time that the SDK may take to send a heartbeat.
const SDK_HEAD_START: Duration = Duration::from_millis(50);

/// Timeout of the server's acknowledgement of a heartbeat.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Draining of a worker that stops: the SDK tells its activities only when its grace period is
/// over, which is too late for them to yield in order.
#[derive(Clone, Debug)]
pub struct Drain {
    stopping: CancellationToken,
    after: Duration,
}

impl Drain {
    /// Interrupts attempts this long after the worker has begun to stop.
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

/// Reason for an attempt to stop before it is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interruption {
    /// The workflow wants the activity canceled.
    CancelRequested,
    /// This attempt is to yield to another one, which resumes the work: a pause, a reset, a worker
    /// that drains.
    Yield,
    /// The server no longer knows this attempt: it was declared timed out, or its workflow has
    /// closed.
    Superseded,
}

/// A heartbeat whose details the server did not take.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The server no longer knows the attempt.
    #[error("the server no longer knows this attempt")]
    Superseded,
    /// No acknowledgement came.
    #[error("cannot record progress with Temporal: {0}")]
    NotAcknowledged(AsyncActivityError),
    /// The details cannot be encoded.
    #[error("cannot encode heartbeat details: {0}")]
    Encoding(#[from] serde_json::Error),
}

/// Heartbeats in the background until dropped.
pub struct Heartbeat {
    sender: Arc<Sender>,
    ctx: ActivityContext,
    _beating: AbortOnDropHandle<()>,
}

impl Heartbeat {
    /// Starts. Details of an earlier attempt stay what they are until the first
    /// [`Heartbeat::record`].
    #[must_use]
    pub fn start(ctx: &ActivityContext, drain: Drain) -> Self {
        let token = TaskToken::from(ctx.info().task_token.clone());
        let identifier = ActivityIdentifier::from_task_token(token);
        let earlier = ctx.heartbeat_details().deserialize::<Value>();
        let sender = Arc::new(Sender {
            handle: AsyncActivityHandle::new(ctx.client(), identifier),
            details: Mutex::new(earlier.ok().flatten()),
            interruption: watch::Sender::new(None),
        });
        let beating = beat(Arc::clone(&sender), ctx.clone(), drain).in_current_span();
        Self {
            sender,
            ctx: ctx.clone(),
            _beating: AbortOnDropHandle::new(tokio::spawn(beating)),
        }
    }

    /// Records details for the attempt that comes after this one. On return the server has them,
    /// and [`Heartbeat::interruption`] tells what it answered.
    ///
    /// # Errors
    /// If the server did not acknowledge them.
    pub async fn record(&self, details: &impl Serialize) -> Result<(), RecordError> {
        let details = serde_json::to_value(details)?;
        let mut current = self.sender.details.lock().await;
        *current = Some(details.clone());
        match self.sender.send(Some(details)).await {
            Ok(()) => Ok(()),
            Err(AsyncActivityError::NotFound(_)) => Err(RecordError::Superseded),
            Err(error) => Err(RecordError::NotAcknowledged(error)),
        }
    }

    /// Notes details that may arrive with the next heartbeat.
    ///
    /// # Errors
    /// If they cannot be encoded.
    pub async fn note(&self, details: &impl Serialize) -> Result<(), RecordError> {
        *self.sender.details.lock().await = Some(serde_json::to_value(details)?);
        Ok(())
    }

    /// Ends an attempt. The SDK reports a failure with the details that it knows, and the server
    /// takes those for the latest: without this, what was recorded since the SDK's last heartbeat
    /// would be lost.
    ///
    /// # Errors
    /// The attempt's own failure.
    pub async fn end<T, E>(self, result: Result<T, E>) -> Result<T, E> {
        if result.is_err()
            && let Some(details) = self.sender.details.lock().await.clone()
            && let Err(error) = self.ctx.record_heartbeat(details).await
        {
            tracing::warn!(%error, "the SDK does not take a heartbeat");
        }
        result
    }

    /// Returns the reason for this attempt to stop, if there is one.
    #[must_use]
    pub fn interruption(&self) -> Option<Interruption> {
        *self.sender.interruption.borrow()
    }

    /// Waits until this attempt should stop.
    pub async fn interrupted(&self) -> Interruption {
        let mut interruption = self.sender.interruption.subscribe();
        match interruption.wait_for(Option::is_some).await {
            Ok(interruption) => interruption.unwrap_or(Interruption::Yield),
            // The sender lives as long as we do.
            Err(_) => Interruption::Yield,
        }
    }

    /// Does the work unless this attempt should stop, which drops the work where it stands.
    ///
    /// # Errors
    /// The work's own failure, or the interruption.
    pub async fn until_interrupted<T, E: From<Interruption>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::select! {
            result = work => result,
            interruption = self.interrupted() => Err(interruption.into()),
        }
    }
}

/// Sender of heartbeats. The lock keeps them in order: no older details arrive after newer ones.
struct Sender {
    handle: AsyncActivityHandle<Client>,
    details: Mutex<Option<Value>>,
    interruption: watch::Sender<Option<Interruption>>,
}

impl Sender {
    async fn send(&self, details: Option<Value>) -> Result<(), AsyncActivityError> {
        let options = RpcOptions::builder().timeout(TIMEOUT).build();
        let answer = self.handle.heartbeat(details, options).await;
        match &answer {
            Ok(answer) if answer.cancel_requested => self.interrupt(Interruption::CancelRequested),
            Ok(answer) if answer.activity_paused || answer.activity_reset => {
                self.interrupt(Interruption::Yield);
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

async fn beat(sender: Arc<Sender>, ctx: ActivityContext, drain: Drain) {
    let mut drained = std::pin::pin!(drain.due());
    // A further attempt may not be wanted any more: it learns so at once.
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
            () = &mut drained => true,
        };
        wait = INTERVAL;
        let details = sender.details.lock().await;
        if !stops
            && sdk_beat.is_none_or(|last| last.elapsed() >= SDK_INTERVAL)
            && let Some(details) = &*details
        {
            if let Err(error) = ctx.record_heartbeat(details.clone()).await {
                tracing::warn!(%error, "the SDK does not take a heartbeat");
            }
            sdk_beat = Some(Instant::now());
            // It sends from elsewhere. What is recorded next must not be overtaken by it.
            tokio::time::sleep(SDK_HEAD_START).await;
        }
        if let Err(error) = sender.send(details.clone()).await {
            tracing::warn!(%error, "heartbeat not acknowledged");
        }
        drop(details);
        if stops {
            // The SDK cancels for many reasons and does not say which. The server has just been
            // asked: if it wants nothing, it is the worker that drains.
            if sender.interruption.borrow().is_none() {
                sender.interrupt(Interruption::Yield);
            }
            return;
        }
    }
}
