//! Jobs that were ended from outside: they wrote no manifest. Their ids stay taken by a tombstone, and what they stored is
//! removed by that once Temporal has forgotten them: until then they can be read, and taken up again.

use darkroom_workflows::{
    contract::sweep::Swept,
    job::{JobId, Tombstone},
};
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;

use super::Sweep;
use crate::{
    failure::Failure,
    manifest::Manifest,
    runs::{self, Standing},
    tombstone,
};

/// The jobs that were ended from outside, as far as Temporal knows them.
const TERMINATED: &str =
    "WorkflowType = 'MediaGeneration' AND ExecutionStatus IN ('Terminated', 'TimedOut')";

impl Sweep<'_> {
    pub(super) async fn bury_terminated(&self, swept: &mut Swept) -> Result<(), Failure> {
        let mut place = Some(Vec::new());
        while let Some(at) = place {
            let (runs, next) = runs::find(&self.client, TERMINATED.to_owned(), at).await?;
            for run in runs {
                let WorkflowExecution {
                    workflow_id,
                    run_id,
                } = run.execution.unwrap_or_default();
                let Ok(job_id) = workflow_id.parse::<JobId>() else {
                    continue;
                };
                if let Err(failure) = self.bury(&job_id, run_id).await {
                    swept.failed += 1;
                    tracing::warn!(%job_id, %failure, "cannot sweep");
                }
            }
            place = next;
        }
        Ok(())
    }

    async fn bury(&self, job_id: &JobId, run_id: String) -> Result<(), Failure> {
        // A reset terminates a run as well, and a retry may have taken the job up.
        let is_latest = Standing::Closed(run_id);
        let is_last_word = tombstone::read(self.storage, job_id).await?.is_none()
            && runs::standing(&self.client, job_id.as_str()).await? == is_latest
            // Else an earlier run ended well, and is in the index.
            && matches!(Manifest::read(self.storage, job_id).await?, Manifest::None);
        if is_last_word {
            tombstone::write(self.storage, job_id, Tombstone::Terminated).await?;
        }
        Ok(())
    }
}
