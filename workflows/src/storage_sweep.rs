//! The workflow that sweeps the store. A Temporal schedule starts it at intervals.

#![expect(
    missing_docs,
    reason = "the macros make constants that cannot carry documentation"
)]

use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{WorkflowContext, WorkflowResult};

use crate::contract::{
    Activities,
    sweep::{self, SweepInput, Swept},
};

/// One sweep.
#[workflow]
#[derive(Default)]
pub struct StorageSweep;

#[workflow_methods]
impl StorageSweep {
    /// Sweeps once, and retries for some hours if the store is down.
    ///
    /// # Errors
    /// If the store stays down. The next scheduled sweep starts all the same.
    #[run(name = "StorageSweep")]
    pub async fn run(ctx: &mut WorkflowContext<Self>, input: SweepInput) -> WorkflowResult<Swept> {
        Ok(ctx
            .execute_activity(Activities::sweep, input, sweep::options())
            .await?)
    }
}
