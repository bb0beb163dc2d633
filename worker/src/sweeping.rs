//! The Temporal schedule of the sweep: one for each bucket and prefix, created by the first worker
//! that starts.

use std::time::Duration;

use darkroom_storage::Storage;
use darkroom_workflows::{StorageSweep, WORKFLOW_QUEUE, contract::sweep::SweepInput};
use temporalio_client::{
    Client,
    schedules::{CreateScheduleOptions, ScheduleAction, ScheduleError, ScheduleSpec},
    tonic::Code,
};

/// Interval between two sweeps.
const INTERVAL: Duration = Duration::from_hours(6);

/// Creates the schedule if it does not exist. A failure is logged and does not stop the worker.
pub(crate) async fn schedule(client: &Client, storage: &Storage) {
    let id = format!("darkroom-sweep-{}/{}", storage.bucket, storage.full_key(""));
    let input = SweepInput::default();
    let action = ScheduleAction::start_workflow(StorageSweep, input, WORKFLOW_QUEUE, id.clone());
    let options = CreateScheduleOptions::builder()
        .action(action)
        .spec(ScheduleSpec::from_interval(INTERVAL))
        .note("removes orphaned objects from the store")
        .build();
    match client.create_schedule(&id, options).await {
        Ok(_) => tracing::info!(schedule = id, "the store is swept every six hours"),
        Err(ScheduleError::Rpc(status)) if status.code() == Code::AlreadyExists => {}
        Err(error) => {
            tracing::warn!(%error, "no schedule sweeps the store; the bucket's lifecycle rule must end abandoned uploads");
        }
    }
}
