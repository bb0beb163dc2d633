//! The workflow that a schedule starts now and then: has the store rid of what belongs to nobody.

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
    /// Sweeps once, and tries for a while if the store is away.
    ///
    /// # Errors
    /// If it stays away: the next sweep comes anyhow.
    #[run(name = "StorageSweep")]
    pub async fn run(ctx: &mut WorkflowContext<Self>, input: SweepInput) -> WorkflowResult<Swept> {
        Ok(ctx
            .execute_activity(Activities::sweep, input, sweep::options())
            .await?)
    }
}
