//! Records of purchases in the runs before a reset: the result of `generate` in their histories,
//! the last record of an attempt that was open at the reset, and the prediction that later
//! activities were about. Temporal accepts no record for a run after its reset, so a purchase
//! without a record was never sent.

use std::time::{Duration, SystemTime};

use darkroom_temporal::{
    history::{Event, History, Outcome},
    runs::pending_activities,
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
    Client, NamespacedClient, RpcOptions, WorkflowDescribeOptions, WorkflowExecutionInfo,
    WorkflowHandle,
};
use temporalio_common::data_converters::PayloadConversionError;
use temporalio_sdk::activities::ActivityContext;

/// Limit of resets that are followed back.
const MAX_RUNS: usize = 16;

/// Returns the last record in the runs before this one.
///
/// # Errors
/// If a call fails, or the runs do not show what was bought.
pub(super) async fn record(ctx: &ActivityContext) -> Result<Option<GenerateRecord>, String> {
    let info = ctx.info();
    let workflow_id = info.workflow_id.clone().ok_or("no workflow")?;
    let mut run_id = info.workflow_run_id.clone().ok_or("no run")?;
    for _ in 0..MAX_RUNS {
        let run = Run::new(ctx.client().clone(), &workflow_id, &run_id);
        let Some((base, reset_at)) = run.base().await? else {
            // This run was not created by a reset.
            return Ok(None);
        };
        let earlier = Run::new(ctx.client().clone(), &workflow_id, &base);
        match earlier.record().await? {
            Some(record @ (GenerateRecord::Submitted(_) | GenerateRecord::Submitting(_))) => {
                return Ok(Some(record));
            }
            record => {
                if earlier.closed_long_before(reset_at).await? {
                    return Err(
                        "another run may have bought between the end of the run and its reset"
                            .to_owned(),
                    );
                }
                if record.is_some() {
                    return Ok(record);
                }
            }
        }
        run_id = base;
    }
    Err("the job was reset more than 16 times".to_owned())
}

struct Run {
    client: Client,
    run_id: String,
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
        Self {
            client,
            run_id: run_id.to_owned(),
            handle,
        }
    }

    fn history(&self) -> History {
        History::of(&self.handle, RpcOptions::default())
    }

    /// Returns the run whose reset created this one, and the time of the reset; `None` if this run
    /// was not created by a reset.
    async fn base(&self) -> Result<Option<(String, SystemTime)>, String> {
        let (mut history, mut base) = (self.history(), None);
        while let Some(event) = history.next().await.map_err(|error| error.to_string())? {
            match event {
                Event::Reset {
                    base_run_id,
                    new_run_id,
                    at,
                } if new_run_id == self.run_id => base = Some((base_run_id, at)),
                _ => {}
            }
        }
        Ok(base)
    }

    /// Returns true if the run had closed before its reset: then other runs may lie in between. The
    /// reset of an open run closes it.
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

    /// Returns the last record of a purchase in this run.
    async fn record(&self) -> Result<Option<GenerateRecord>, String> {
        let read = |error: PayloadConversionError| error.to_string();
        let (mut history, mut record) = (self.history(), None);
        while let Some(event) = history.next().await.map_err(|error| error.to_string())? {
            match event {
                Event::Scheduled(activity) if activity.name == "collect" => {
                    let input = activity.input.decode::<CollectInput>(&self.client);
                    let prediction = input.await.map_err(read)?.prediction;
                    let state = ProviderState::new(prediction, PredictionStatus::Processing);
                    record = Some(GenerateRecord::Submitted(state));
                }
                Event::Ended(activity, outcome) => match (activity.name.as_str(), outcome) {
                    ("generate", Outcome::Completed(result)) => {
                        record = Some(record_of(result.decode(&self.client).await.map_err(read)?));
                    }
                    (
                        "generate",
                        Outcome::TimedOut {
                            last_heartbeat: Some(details),
                        },
                    ) => {
                        record = Some(details.decode(&self.client).await.map_err(read)?);
                    }
                    ("generate", Outcome::Failed { .. }) => {
                        return Err("an attempt of generate failed without a record".to_owned());
                    }
                    ("find", Outcome::Completed(result)) => {
                        let found = result.decode(&self.client).await.map_err(read)?;
                        if let FindOutcome::Found(state) = found {
                            record = Some(GenerateRecord::Submitted(state));
                        }
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        if history.is_pending("generate") {
            return Ok(self.pending_record().await?.or(record));
        }
        Ok(record)
    }

    /// Returns the last record of the attempt that was open when the run was reset.
    async fn pending_record(&self) -> Result<Option<GenerateRecord>, String> {
        let description = self
            .handle
            .describe(WorkflowDescribeOptions::default())
            .await;
        let description = description.map_err(|error| error.to_string())?;
        let Some(generate) = pending_activities(&description, "generate").next() else {
            return Err("the pending attempt of generate is no longer described".to_owned());
        };
        match generate.heartbeat_details() {
            Some(details) => {
                let record = details.decode(&self.client).await;
                Ok(Some(record.map_err(|error| error.to_string())?))
            }
            None => Ok(None),
        }
    }
}

fn record_of(outcome: GenerateOutcome) -> GenerateRecord {
    match outcome {
        GenerateOutcome::Ended(ended) => GenerateRecord::Submitted(ended.state),
        GenerateOutcome::Submitted { state, .. } => GenerateRecord::Submitted(state),
        // The manifest was read from the store, which can be read again.
        GenerateOutcome::Refused { .. } | GenerateOutcome::Recorded(_) => GenerateRecord::Refused,
        GenerateOutcome::InDoubt(doubt) => GenerateRecord::Submitting(doubt),
    }
}
