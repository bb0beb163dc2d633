//! The workflow that delivers a webhook when a job has ended. It outlives the job's workflow: if
//! the receiver is down, it retries for up to three days. The message is built once; an activity
//! sends it.
//!
//! - `message`: the message, and the input of the workflow
//! - `schedule`: the delays between attempts

#![expect(
    missing_docs,
    reason = "the macros make constants that cannot carry documentation"
)]

mod message;
mod schedule;

use std::time::Duration;

use darkroom_types::resource;
pub use darkroom_types::resource::{DeliveryAttempt, DeliveryStatus};
use jiff::Timestamp;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ActivityExecutionError, CancellableFuture, SyncWorkflowContext, TimerOptions, TimerResult,
    WorkflowContext, WorkflowContextView, WorkflowResult, WorkflowTermination,
    common::error::ApplicationFailure, select,
};

pub use self::message::{WebhookDeliveryInput, WebhookMessage};
use crate::{
    contract::{
        self, Activities,
        webhook::{DeliverWebhookInput, Delivery, DeliveryOutcome},
    },
    failure::read_activity_failure,
    job::{JobId, timestamp},
    tenant::Tenant,
};

/// Limit of attempts in the log: the latest are kept.
const MAX_LOGGED: usize = 100;

/// Returns the id of the workflow that delivers the webhook of one ending of a job: each retry of a
/// job has an ending of its own.
#[must_use]
pub fn workflow_id(job_id: &JobId, retry_count: u32) -> String {
    format!("webhook-{job_id}-{retry_count}")
}

/// Delivery of one message to one receiver.
#[workflow]
pub struct WebhookDelivery {
    state: resource::WebhookDelivery,
    tenant: Option<Tenant>,
    secret_id: Option<String>,
    message: WebhookMessage,
    /// True if a redelivery was requested, so that the next attempt is due now.
    redelivery_requested: bool,
}

#[workflow_methods]
impl WebhookDelivery {
    #[init]
    fn new(_context: &WorkflowContextView, input: WebhookDeliveryInput) -> Self {
        let WebhookDeliveryInput {
            tenant,
            secret_id,
            url,
            message,
            attempts,
        } = input;
        let state = resource::WebhookDelivery {
            message_id: message.id.clone(),
            event: message.event,
            url,
            status: DeliveryStatus::Pending,
            attempts,
            next_attempt_at: None,
        };
        Self {
            state,
            tenant,
            secret_id,
            message,
            redelivery_requested: false,
        }
    }

    /// Closes as `Completed` once the receiver has the message, or as `Failed` with the log of
    /// attempts if it never will.
    ///
    /// # Errors
    /// If the message was not delivered, or the workflow was canceled.
    #[run(name = "WebhookDelivery")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<resource::WebhookDelivery> {
        let mut schedule = schedule::delays();
        let mut due = None;
        loop {
            let (outcome, retry_after) = attempt(ctx).await;
            let status = match outcome {
                DeliveryOutcome::Delivered => DeliveryStatus::Delivered,
                DeliveryOutcome::Refused => DeliveryStatus::Refused,
                DeliveryOutcome::Failed => {
                    // An attempt on request does not use up a step of the schedule.
                    let next = due.take().or_else(|| {
                        let delay = schedule.next()?;
                        Some(now(ctx) + schedule::with_retry_after(delay, retry_after))
                    });
                    match next {
                        Some(next) => {
                            due = wait(ctx, next).await?;
                            continue;
                        }
                        None => DeliveryStatus::Exhausted,
                    }
                }
            };
            let state = ctx.state_mut(|workflow| {
                workflow.state.status = status;
                workflow.state.clone()
            });
            ctx.set_current_details(format!(
                "**{status:?}** after {} attempts",
                state.attempts.len()
            ));
            return if status == DeliveryStatus::Delivered {
                Ok(state)
            } else {
                Err(undelivered(state))
            };
        }
    }

    /// Signal: makes the next attempt now.
    #[signal(name = "redeliver")]
    pub fn redeliver(&mut self, _context: &mut SyncWorkflowContext<Self>) {
        self.redelivery_requested = true;
    }

    /// Query: returns the current state of the delivery.
    #[query(name = "delivery")]
    #[must_use]
    pub fn delivery(&self, _context: &WorkflowContextView) -> resource::WebhookDelivery {
        self.state.clone()
    }
}

async fn attempt(ctx: &WorkflowContext<WebhookDelivery>) -> (DeliveryOutcome, Option<Duration>) {
    let now = now(ctx);
    let input = ctx.state_mut(|workflow| {
        workflow.redelivery_requested = false;
        workflow.state.next_attempt_at = None;
        DeliverWebhookInput {
            tenant: workflow.tenant.clone(),
            secret_id: workflow.secret_id.clone(),
            url: workflow.state.url.clone(),
            message_id: workflow.message.id.clone(),
            body: workflow.message.body.clone(),
        }
    });
    let number = ctx.state(|workflow| workflow.state.attempts.len() + 1);
    let delivered = ctx
        .execute_activity(
            Activities::deliver_webhook,
            input,
            contract::webhook::options(number),
        )
        .await;
    let (outcome, retry_after, attempt) = read_outcome(delivered, now);
    ctx.state_mut(|workflow| {
        let attempts = &mut workflow.state.attempts;
        attempts.push(attempt);
        let too_many = attempts.len().saturating_sub(MAX_LOGGED);
        attempts.drain(..too_many);
    });
    (outcome, retry_after)
}

fn read_outcome(
    delivered: Result<Delivery, ActivityExecutionError>,
    now: Timestamp,
) -> (DeliveryOutcome, Option<Duration>, DeliveryAttempt) {
    match delivered {
        Ok(Delivery {
            outcome,
            retry_after_seconds,
            attempt,
        }) => (
            outcome,
            retry_after_seconds.map(Duration::from_secs),
            attempt,
        ),
        // The worker is gone: the receiver may have the message, and then recognizes the retry by
        // its id.
        Err(failure) => {
            let error = Some(read_activity_failure(&failure).0.detail);
            (
                DeliveryOutcome::Failed,
                None,
                DeliveryAttempt {
                    at: now,
                    duration_ms: None,
                    response_status: None,
                    error,
                },
            )
        }
    }
}

fn now(ctx: &WorkflowContext<WebhookDelivery>) -> Timestamp {
    ctx.workflow_time().map(timestamp).unwrap_or_default()
}

/// Waits until the next attempt is due, or a redelivery is requested. In the latter case it returns
/// the time at which the scheduled attempt is still due.
async fn wait(
    ctx: &WorkflowContext<WebhookDelivery>,
    due: Timestamp,
) -> Result<Option<Timestamp>, WorkflowTermination> {
    let delay = Duration::try_from(due.duration_since(now(ctx)))
        .unwrap_or_default()
        .max(Duration::from_millis(1));
    let attempts = ctx.state_mut(|workflow| {
        workflow.state.next_attempt_at = Some(due);
        workflow.state.attempts.len()
    });
    ctx.set_current_details(format!(
        "**pending** after {attempts} attempts; the next is due at {due}"
    ));
    let mut timer = ctx.timer(
        TimerOptions::builder(delay)
            .summary("next attempt".to_owned())
            .build(),
    );
    let mut redelivery =
        std::pin::pin!(ctx.wait_condition(|workflow| workflow.redelivery_requested));
    select! {
        result = timer => if matches!(result, TimerResult::Fired) {
            return Ok(None);
        },
        result = redelivery => {
            timer.cancel();
            if result.is_ok() {
                return Ok(Some(due));
            }
        }
    }
    Err(WorkflowTermination::cancelled_with_details(
        ctx.state(|workflow| workflow.state.clone()),
    ))
}

fn undelivered(state: resource::WebhookDelivery) -> WorkflowTermination {
    let last = state
        .attempts
        .last()
        .and_then(|attempt| attempt.error.clone())
        .unwrap_or_default();
    let failure = ApplicationFailure::builder(format!(
        "not delivered after {} attempts: {last}",
        state.attempts.len()
    ))
    .type_name("WebhookUndelivered".to_owned())
    .non_retryable(true)
    .details(state)
    .build();
    WorkflowTermination::failed_application(failure)
}
