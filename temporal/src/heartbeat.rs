//! Heartbeats of an activity that the server acknowledges, and the server's requests to stop an
//! attempt.
//!
//! The SDK queues and throttles its own heartbeats: it does not report whether one was recorded,
//! and a cancellation comes without its reason. The heartbeats here are plain RPCs, one after the
//! other. When [`Heartbeat::record`] returns, the server has the details. The response
//! distinguishes a cancellation, a pause, a reset, and an attempt that the server no longer knows.
//!
//! The SDK does not see these RPCs. Without heartbeats of its own, its local timer would time the
//! attempt out and its result would be dropped. So the SDK heartbeats as well, at a longer interval
//! and with the same details. See [`crate::workarounds`].

use std::{
    convert::Infallible,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::Value;
use temporalio_client::{
    ActivityIdentifier, AsyncActivityHandle, Client, RpcOptions, errors::AsyncActivityError,
};
use temporalio_common::protos::TaskToken;
use temporalio_sdk::activities::ActivityContext;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::Instrument;

/// Interval of heartbeats: three within a heartbeat timeout of 10 s.
const INTERVAL: Duration = Duration::from_secs(3);

/// Interval of the SDK's heartbeats, for a heartbeat timeout of 10 s. It is longer than the SDK's
/// throttle, 80 % of that timeout, and shorter than the SDK's local timer, 5 s more than it.
const SDK_INTERVAL: Duration = Duration::from_millis(8500);

/// Head start of a heartbeat that the SDK sends, before the next RPC from here.
const SDK_HEAD_START: Duration = Duration::from_millis(50);

/// Timeout of one heartbeat RPC.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Draining of a worker that shuts down. The SDK cancels its activities only after its graceful
/// shutdown period, which is too late for them to record a checkpoint and yield.
#[derive(Clone, Debug)]
pub struct Drain {
    stopping: CancellationToken,
    after: Duration,
}

impl Drain {
    /// Interrupts attempts this long after `stopping` is cancelled.
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

/// Reason to stop an attempt before its work is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interruption {
    /// The workflow has requested the cancellation of the activity.
    CancelRequested,
    /// This attempt yields to another one, which resumes the work: after a pause or a reset, or
    /// because the worker drains.
    Yield,
    /// The server no longer knows this attempt: it was declared timed out, or its workflow has
    /// closed.
    Superseded,
}

/// A failure to record heartbeat details.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The server no longer knows the attempt.
    #[error("the server no longer knows this attempt")]
    Superseded,
    /// The RPC failed. The server may have recorded the details nevertheless.
    #[error("cannot record progress with Temporal: {0}")]
    NotAcknowledged(AsyncActivityError),
    /// The details cannot be encoded.
    #[error("cannot encode heartbeat details: {0}")]
    Encoding(#[from] serde_json::Error),
}

/// Sender of heartbeats for one attempt. It heartbeats in the background until it is dropped.
pub struct Heartbeat {
    sender: Arc<Sender>,
    ctx: ActivityContext,
    _beating: AbortOnDropHandle<()>,
}

impl Heartbeat {
    /// Starts to heartbeat. The details of the earlier attempt are kept until the first
    /// [`Heartbeat::record`] or [`Heartbeat::note`].
    #[must_use]
    pub fn start(ctx: &ActivityContext, drain: Drain) -> Self {
        let earlier = ctx.heartbeat_details().deserialize::<Value>();
        let sender = Arc::new(Sender {
            handle: attempt_handle(ctx),
            latest: Mutex::new(Latest {
                details: earlier.ok().flatten(),
                sdk_beat: None,
            }),
            order: AsyncMutex::new(()),
            interruption: watch::Sender::new(None),
        });
        let beating = beat(Arc::clone(&sender), ctx.clone(), drain).in_current_span();
        Self {
            sender,
            ctx: ctx.clone(),
            _beating: AbortOnDropHandle::new(tokio::spawn(beating)),
        }
    }

    /// Records details for the next attempt. On return the server has them, and
    /// [`Heartbeat::interrupted`] knows its response.
    ///
    /// # Errors
    /// If the details cannot be encoded, or the server did not acknowledge them.
    pub async fn record(&self, details: &impl Serialize) -> Result<(), RecordError> {
        self.sender.latest().details = Some(serde_json::to_value(details)?);
        match self.sender.send_latest().await {
            Ok(()) => Ok(()),
            Err(AsyncActivityError::NotFound(_)) => Err(RecordError::Superseded),
            Err(error) => Err(RecordError::NotAcknowledged(error)),
        }
    }

    /// Sets the details that the next heartbeat sends, without waiting for it.
    ///
    /// # Errors
    /// If they cannot be encoded.
    pub fn note(&self, details: &impl Serialize) -> Result<(), RecordError> {
        self.sender.latest().details = Some(serde_json::to_value(details)?);
        Ok(())
    }

    /// Ends the attempt. With a failure, the SDK reports the details of its own last heartbeat, and
    /// the server stores them as the latest. So the SDK is given the current details first;
    /// otherwise everything recorded since its last heartbeat would be lost.
    ///
    /// # Errors
    /// Returns the failure of the attempt.
    pub async fn end<T, E>(self, result: Result<T, E>) -> Result<T, E> {
        if result.is_err() {
            self.sender.beat_through_sdk(&self.ctx).await;
        }
        result
    }

    /// Waits until there is a reason to stop this attempt, and returns it.
    pub async fn interrupted(&self) -> Interruption {
        let mut interruption = self.sender.interruption.subscribe();
        match interruption.wait_for(Option::is_some).await {
            Ok(interruption) => interruption.unwrap_or(Interruption::Yield),
            // Unreachable: `self` owns the sender.
            Err(_) => Interruption::Yield,
        }
    }

    /// Runs `work` until it is done or the attempt is interrupted, which drops `work`.
    ///
    /// # Errors
    /// If `work` fails or the attempt is interrupted.
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

/// Handle by which an attempt heartbeats by RPC.
pub(crate) fn attempt_handle(ctx: &ActivityContext) -> AsyncActivityHandle<Client> {
    let token = TaskToken::from(ctx.info().task_token.clone());
    AsyncActivityHandle::new(ctx.client(), ActivityIdentifier::from_task_token(token))
}

/// Sender of heartbeats: RPCs of our own, and those of the SDK.
struct Sender {
    handle: AsyncActivityHandle<Client>,
    latest: Mutex<Latest>,
    /// Keeps RPCs in order, so that no older details arrive after newer ones. It is held while an
    /// RPC is under way, which may be for long: nothing else waits for it.
    order: AsyncMutex<()>,
    interruption: watch::Sender<Option<Interruption>>,
}

struct Latest {
    details: Option<Value>,
    /// Time of the SDK's last heartbeat.
    sdk_beat: Option<Instant>,
}

impl Sender {
    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the latest details, which may be newer than those that the caller has set.
    async fn send_latest(&self) -> Result<(), AsyncActivityError> {
        let _order = self.order.lock().await;
        // The SDK sends from another task. Its heartbeat must not arrive after this one.
        let sdk_beat = self.latest().sdk_beat.map(|at| at.elapsed());
        if let Some(rest) = sdk_beat.and_then(|since| SDK_HEAD_START.checked_sub(since)) {
            tokio::time::sleep(rest).await;
        }
        let details = self.latest().details.clone();
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

    /// Gives the SDK the latest details; false if there are none.
    async fn beat_through_sdk(&self, ctx: &ActivityContext) -> bool {
        let Some(details) = self.latest().details.clone() else {
            return false;
        };
        if let Err(error) = ctx.record_heartbeat(details).await {
            tracing::warn!(%error, "cannot heartbeat through the SDK");
        }
        self.latest().sdk_beat = Some(Instant::now());
        true
    }

    fn interrupt(&self, interruption: Interruption) {
        self.interruption.send_replace(Some(interruption));
    }
}

/// Heartbeats until the attempt is to stop.
async fn beat(sender: Arc<Sender>, ctx: ActivityContext, drain: Drain) {
    tokio::select! {
        () = send(&sender, &ctx, drain) => {}
        never = keep_sdk_alive(&sender, &ctx) => match never {},
    }
}

/// Heartbeats through the SDK, however long our own RPCs take: without it, the SDK would cancel the
/// attempt.
async fn keep_sdk_alive(sender: &Sender, ctx: &ActivityContext) -> Infallible {
    loop {
        let pause = if sender.beat_through_sdk(ctx).await {
            SDK_INTERVAL
        } else {
            INTERVAL
        };
        tokio::time::sleep(pause).await;
    }
}

async fn send(sender: &Sender, ctx: &ActivityContext, drain: Drain) {
    let mut drained = std::pin::pin!(drain.due());
    // A retry heartbeats at once: it may have been canceled or paused before it started.
    let mut wait = if ctx.info().attempt > 1 {
        Duration::ZERO
    } else {
        INTERVAL
    };
    loop {
        let stops = tokio::select! {
            () = tokio::time::sleep(wait) => false,
            () = ctx.cancelled() => true,
            () = &mut drained => true,
        };
        wait = INTERVAL;
        if let Err(error) = sender.send_latest().await {
            tracing::warn!(%error, "heartbeat not acknowledged");
        }
        if stops {
            // The SDK does not tell why it cancels. If the server's response asks for nothing, the
            // worker drains.
            if sender.interruption.borrow().is_none() {
                sender.interrupt(Interruption::Yield);
            }
            return;
        }
    }
}
