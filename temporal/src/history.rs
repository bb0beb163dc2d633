//! The history of a run: its activities, signals and resets as events, with payloads that decode to
//! a type. It is read from the server, without a worker.

use std::{collections::HashMap, time::SystemTime};

use futures::{StreamExt, stream::BoxStream};
use temporalio_client::{
    Client, RpcOptions, WorkflowFetchHistoryOptions, WorkflowHandle,
    errors::WorkflowInteractionError,
};
use temporalio_common::{
    HasWorkflowDefinition,
    data_converters::{
        PayloadConversionError, SerializationContextData, TemporalDeserializable,
        WorkflowSerializationContext,
    },
    protos::temporal::api::{
        common::v1::{Payload, Payloads},
        failure::v1::{Failure, failure::FailureInfo},
        history::v1::{HistoryEvent, history_event::Attributes},
    },
};

/// Payloads of an event or a heartbeat that are not decoded yet.
#[derive(Clone, Debug, Default)]
pub struct Encoded(Vec<Payload>);

impl From<Payloads> for Encoded {
    fn from(payloads: Payloads) -> Self {
        Self(payloads.payloads)
    }
}

impl From<Option<Payloads>> for Encoded {
    fn from(payloads: Option<Payloads>) -> Self {
        payloads.map(Self::from).unwrap_or_default()
    }
}

impl Encoded {
    /// Decodes them with the client's data converter.
    ///
    /// # Errors
    /// If they do not decode to this type.
    pub async fn decode<T>(self, client: &Client) -> Result<T, PayloadConversionError>
    where
        T: TemporalDeserializable + 'static,
    {
        let context = SerializationContextData::Workflow(WorkflowSerializationContext::new());
        let converter = &client.options().data_converter;
        converter.from_payloads(&context, self.0).await
    }
}

/// An activity that was scheduled.
#[derive(Clone, Debug)]
pub struct Activity {
    /// Type of the activity.
    pub name: String,
    /// Input of the activity.
    pub input: Encoded,
}

/// The end of an activity.
#[derive(Debug)]
pub enum Outcome {
    /// Completion with this result.
    Completed(Encoded),
    /// Failure of the last attempt.
    Failed {
        /// Type of the failure, if it was an application failure.
        error_type: Option<String>,
        /// Message of the failure.
        message: String,
    },
    /// Timeout.
    TimedOut {
        /// Details of the last heartbeat.
        last_heartbeat: Option<Encoded>,
    },
    /// Cancellation.
    Canceled,
}

/// An event of a run. Events that Darkroom does not use are skipped.
#[derive(Debug)]
pub enum Event {
    /// Scheduled activity.
    Scheduled(Activity),
    /// End of an activity.
    Ended(Activity, Outcome),
    /// Signal to the workflow.
    Signaled {
        /// Name of the signal.
        name: String,
        /// Input of the signal.
        input: Encoded,
    },
    /// Reset that created this run from another one, or another one from it.
    Reset {
        /// The run that was reset.
        base_run_id: String,
        /// The run that it was reset to.
        new_run_id: String,
        /// Time of the reset.
        at: SystemTime,
    },
}

/// Reader of the events of one run, the first event first.
pub struct History {
    client: Client,
    events: BoxStream<'static, Result<HistoryEvent, WorkflowInteractionError>>,
    /// Activities that have not ended so far, by the id of the event that scheduled them.
    scheduled: HashMap<i64, Activity>,
}

/// A history that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Failed call, or a run that Temporal does not know.
    #[error(transparent)]
    Interaction(#[from] WorkflowInteractionError),
    /// Payload of another type.
    #[error("cannot decode a payload of a history: {0}")]
    Payload(#[from] PayloadConversionError),
    /// First event that is not the start of a workflow.
    #[error("a history does not begin with the start of its workflow")]
    NoStart,
}

impl History {
    /// Creates a reader. Each page is one call with the options `call`.
    #[must_use]
    pub fn of<W>(handle: &WorkflowHandle<Client, W>, call: RpcOptions) -> Self
    where
        W: HasWorkflowDefinition + 'static,
    {
        let options = WorkflowFetchHistoryOptions::builder().rpc_options(call);
        let events = handle.fetch_history(options.build());
        Self {
            client: handle.client().clone(),
            events: events.boxed(),
            scheduled: HashMap::new(),
        }
    }

    /// Reads the input of the run. Only the first call on a reader may be this one.
    ///
    /// # Errors
    /// If the call fails, or the input is of another type.
    pub async fn input<T>(&mut self) -> Result<T, HistoryError>
    where
        T: TemporalDeserializable + 'static,
    {
        let first = self.events.next().await.ok_or(HistoryError::NoStart)??;
        match first.attributes {
            Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) => {
                Ok(Encoded::from(started.input).decode(&self.client).await?)
            }
            _ => Err(HistoryError::NoStart),
        }
    }

    /// Reads up to the next event that is not skipped; `None` at the end.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn next(&mut self) -> Result<Option<Event>, HistoryError> {
        while let Some(event) = self.events.next().await {
            if let Some(event) = self.event(event?) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Returns true if an activity of this type was scheduled and has not ended in the events read
    /// so far.
    #[must_use]
    pub fn is_pending(&self, name: &str) -> bool {
        self.scheduled
            .values()
            .any(|activity| activity.name == name)
    }

    fn event(&mut self, event: HistoryEvent) -> Option<Event> {
        match event.attributes? {
            Attributes::ActivityTaskScheduledEventAttributes(scheduled) => {
                let activity = Activity {
                    name: scheduled.activity_type.unwrap_or_default().name,
                    input: scheduled.input.into(),
                };
                self.scheduled.insert(event.event_id, activity.clone());
                Some(Event::Scheduled(activity))
            }
            Attributes::ActivityTaskCompletedEventAttributes(completed) => self.ended(
                completed.scheduled_event_id,
                Outcome::Completed(completed.result.into()),
            ),
            Attributes::ActivityTaskFailedEventAttributes(failed) => {
                self.ended(failed.scheduled_event_id, outcome_of(failed.failure))
            }
            Attributes::ActivityTaskTimedOutEventAttributes(timed_out) => {
                let info = timed_out.failure.and_then(|failure| failure.failure_info);
                let last_heartbeat = match info {
                    Some(FailureInfo::TimeoutFailureInfo(timeout)) => {
                        timeout.last_heartbeat_details.map(Encoded::from)
                    }
                    _ => None,
                };
                self.ended(
                    timed_out.scheduled_event_id,
                    Outcome::TimedOut { last_heartbeat },
                )
            }
            Attributes::ActivityTaskCanceledEventAttributes(canceled) => {
                self.ended(canceled.scheduled_event_id, Outcome::Canceled)
            }
            Attributes::WorkflowExecutionSignaledEventAttributes(signal) => Some(Event::Signaled {
                name: signal.signal_name,
                input: signal.input.into(),
            }),
            Attributes::WorkflowTaskFailedEventAttributes(failed)
                if !failed.base_run_id.is_empty() =>
            {
                Some(Event::Reset {
                    base_run_id: failed.base_run_id,
                    new_run_id: failed.new_run_id,
                    at: event.event_time?.try_into().ok()?,
                })
            }
            _ => None,
        }
    }

    fn ended(&mut self, scheduled_event_id: i64, outcome: Outcome) -> Option<Event> {
        let activity = self.scheduled.remove(&scheduled_event_id)?;
        Some(Event::Ended(activity, outcome))
    }
}

fn outcome_of(failure: Option<Failure>) -> Outcome {
    let failure = failure.unwrap_or_default();
    let error_type = match failure.failure_info {
        Some(FailureInfo::ApplicationFailureInfo(info)) => Some(info.r#type),
        _ => None,
    };
    Outcome::Failed {
        error_type,
        message: failure.message,
    }
}
