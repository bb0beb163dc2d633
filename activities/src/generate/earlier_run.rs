//! What the runs before a reset tell of what was bought: the result of `generate` in their histories, what an attempt at it had
//! recorded when they were cut off, and the prediction that later activities were about. A run that was cut off takes no record
//! any more, so what it does not have was never sent.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use darkroom_workflows::{
    MediaGeneration,
    contract::{
        collect::CollectInput,
        find::FindOutcome,
        generate::{GenerateOutcome, GenerateRecord},
    },
    job::{PredictionStatus, ProviderState},
};
use temporalio_client::{
    Client, NamespacedClient, WorkflowDescribeOptions, WorkflowExecutionInfo,
    WorkflowFetchHistoryOptions, WorkflowHandle,
};
use temporalio_common::{
    data_converters::{
        ActivitySerializationContext, SerializationContextData, TemporalDeserializable,
    },
    protos::temporal::api::{
        common::v1::Payloads,
        failure::v1::failure::FailureInfo,
        history::v1::{HistoryEvent, history_event::Attributes},
    },
};
use temporalio_sdk::activities::ActivityContext;

/// How many resets of resets are followed.
const MAX_RUNS: usize = 16;

/// What was recorded last in the runs before this one.
///
/// # Errors
/// If Temporal does not tell.
pub(super) async fn record(ctx: &ActivityContext) -> Result<Option<GenerateRecord>, String> {
    let info = ctx.info();
    let workflow_id = info.workflow_id.clone().ok_or("no workflow")?;
    let mut run_id = info.workflow_run_id.clone().ok_or("no run")?;
    for _ in 0..MAX_RUNS {
        let run = Run::new(ctx.client().clone(), &workflow_id, &run_id);
        let events = run.events().await?;
        let Some((base, reset_at)) = base_of(&events, &run_id) else {
            // A run that is no reset of another one.
            return Ok(None);
        };
        let earlier = Run::new(ctx.client().clone(), &workflow_id, &base);
        match earlier.record().await? {
            Some(record @ (GenerateRecord::Submitted(_) | GenerateRecord::Submitting(_))) => {
                return Ok(Some(record));
            }
            record => {
                if earlier.closed_long_before(reset_at).await? {
                    return Err("another run may have come between it and its reset".to_owned());
                }
                if record.is_some() {
                    return Ok(record);
                }
            }
        }
        run_id = base;
    }
    Err("it was reset too often".to_owned())
}

/// The run that a run was made of by a reset, and when.
fn base_of(events: &[HistoryEvent], run_id: &str) -> Option<(String, SystemTime)> {
    events
        .iter()
        .rev()
        .find_map(|event| match &event.attributes {
            Some(Attributes::WorkflowTaskFailedEventAttributes(failed))
                if failed.new_run_id == run_id && !failed.base_run_id.is_empty() =>
            {
                let at = SystemTime::try_from(event.event_time?).ok()?;
                Some((failed.base_run_id.clone(), at))
            }
            _ => None,
        })
}

struct Run {
    client: Client,
    handle: WorkflowHandle<Client, MediaGeneration>,
}

impl Run {
    fn new(client: Client, workflow_id: &str, run_id: &str) -> Self {
        let info = WorkflowExecutionInfo::builder()
            .namespace(client.namespace())
            .workflow_id(workflow_id)
            .run_id(run_id)
            .build();
        let handle = WorkflowHandle::new(client.clone(), info);
        Self { client, handle }
    }

    async fn events(&self) -> Result<Vec<HistoryEvent>, String> {
        let history = self
            .handle
            .fetch_history(WorkflowFetchHistoryOptions::default());
        history
            .into_events()
            .await
            .map_err(|error| error.to_string())
    }

    /// Whether the run had closed before it was reset: then there may have been others in between. A run that was open is closed
    /// by its reset.
    async fn closed_long_before(&self, reset_at: SystemTime) -> Result<bool, String> {
        const AT_ONCE: Duration = Duration::from_secs(2);
        let description = self
            .handle
            .describe(WorkflowDescribeOptions::default())
            .await;
        let description = description.map_err(|error| error.to_string())?;
        Ok(description.close_time().is_some_and(|closed| {
            reset_at
                .duration_since(closed)
                .is_ok_and(|passed| passed > AT_ONCE)
        }))
    }

    /// What the run says last of a purchase.
    async fn record(&self) -> Result<Option<GenerateRecord>, String> {
        let mut scheduled = HashMap::new();
        let mut record = None;
        for event in self.events().await? {
            match event.attributes {
                Some(Attributes::ActivityTaskScheduledEventAttributes(activity)) => {
                    let name = activity
                        .activity_type
                        .map(|kind| kind.name)
                        .unwrap_or_default();
                    if name == "collect" {
                        let input: CollectInput = self.read(activity.input).await?;
                        let status = PredictionStatus::Processing;
                        let state = ProviderState::new(input.prediction, status);
                        record = Some(GenerateRecord::Submitted(state));
                    }
                    scheduled.insert(event.event_id, name);
                }
                Some(Attributes::ActivityTaskCompletedEventAttributes(completed)) => {
                    match scheduled.remove(&completed.scheduled_event_id).as_deref() {
                        Some("generate") => {
                            let outcome = self.read(completed.result).await?;
                            record = Some(record_of(outcome));
                        }
                        Some("find") => {
                            if let FindOutcome::Found(state) = self.read(completed.result).await? {
                                record = Some(GenerateRecord::Submitted(state));
                            }
                        }
                        _ => {}
                    }
                }
                Some(Attributes::ActivityTaskTimedOutEventAttributes(timed_out)) => {
                    let name = scheduled.remove(&timed_out.scheduled_event_id);
                    let info = timed_out.failure.and_then(|failure| failure.failure_info);
                    if let (Some("generate"), Some(FailureInfo::TimeoutFailureInfo(timeout))) =
                        (name.as_deref(), info)
                        && let Some(details) = timeout.last_heartbeat_details
                    {
                        record = Some(self.read(Some(details)).await?);
                    }
                }
                Some(Attributes::ActivityTaskCanceledEventAttributes(canceled)) => {
                    scheduled.remove(&canceled.scheduled_event_id);
                }
                Some(Attributes::ActivityTaskFailedEventAttributes(failed)) => {
                    let name = scheduled.remove(&failed.scheduled_event_id);
                    if name.as_deref() == Some("generate") {
                        return Err("an attempt failed without saying what it did".to_owned());
                    }
                }
                _ => {}
            }
        }
        if scheduled.values().any(|name| name == "generate") {
            return Ok(self.pending_record().await?.or(record));
        }
        Ok(record)
    }

    /// What an attempt that was under way when the run was cut off had recorded.
    async fn pending_record(&self) -> Result<Option<GenerateRecord>, String> {
        let description = self
            .handle
            .describe(WorkflowDescribeOptions::default())
            .await;
        let description = description.map_err(|error| error.to_string())?;
        let pending = description.raw().pending_activities.iter();
        let mut generate = pending.filter(|activity| {
            let kind = activity.activity_type.as_ref();
            kind.is_some_and(|kind| kind.name == "generate")
        });
        let Some(activity) = generate.next() else {
            return Err("what was under way is not shown any more".to_owned());
        };
        match activity.heartbeat_details.clone() {
            Some(details) => Ok(Some(self.read(Some(details)).await?)),
            None => Ok(None),
        }
    }

    async fn read<T>(&self, payloads: Option<Payloads>) -> Result<T, String>
    where
        T: TemporalDeserializable + 'static,
    {
        let context = SerializationContextData::Activity(ActivitySerializationContext::new());
        let payloads = payloads
            .map(|payloads| payloads.payloads)
            .unwrap_or_default();
        let converter = self.client.options().data_converter.clone();
        let read = converter.from_payloads(&context, payloads).await;
        read.map_err(|error| error.to_string())
    }
}

fn record_of(outcome: GenerateOutcome) -> GenerateRecord {
    match outcome {
        GenerateOutcome::Ended(ended) => GenerateRecord::Submitted(ended.state),
        GenerateOutcome::Submitted { state, .. } => GenerateRecord::Submitted(state),
        // What the store told it tells again.
        GenerateOutcome::Refused { .. } | GenerateOutcome::Recorded(_) => GenerateRecord::Refused,
        GenerateOutcome::InDoubt(doubt) => GenerateRecord::Submitting(doubt),
    }
}
