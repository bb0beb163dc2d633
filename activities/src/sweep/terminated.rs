//! Jobs that were ended from outside: they wrote no manifest, so that what they stored is nobody's, and their ids stay taken by
//! a tombstone, as those of deleted jobs do.

use std::time::SystemTime;

use darkroom_workflows::{
    contract::sweep::Swept,
    job::{JobId, timestamp},
};
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;

use super::Sweep;
use crate::{
    failure::Failure,
    manifest::Manifest,
    runs::{self, Standing},
    tombstone,
};

impl Sweep<'_> {
    pub(super) async fn bury_terminated(&self, swept: &mut Swept) -> Result<(), Failure> {
        let before = timestamp(SystemTime::now() - self.age());
        let query = format!(
            "WorkflowType = 'MediaGeneration' AND ExecutionStatus IN ('Terminated', 'TimedOut') \
             AND CloseTime <= '{before}'"
        );
        let mut place = Some(Vec::new());
        while let Some(at) = place {
            if swept.jobs >= self.input.jobs {
                return Ok(());
            }
            let (runs, next) = runs::find(&self.client, query.clone(), at).await?;
            for run in runs {
                let WorkflowExecution {
                    workflow_id,
                    run_id,
                } = run.execution.unwrap_or_default();
                let Ok(job_id) = workflow_id.parse::<JobId>() else {
                    continue;
                };
                swept.jobs += 1;
                match self.bury(&job_id, run_id).await {
                    Ok(removed) => swept.removed += removed,
                    Err(failure) => {
                        swept.failed += 1;
                        tracing::warn!(%job_id, %failure, "cannot sweep");
                    }
                }
            }
            place = next;
        }
        Ok(())
    }

    async fn bury(&self, job_id: &JobId, run_id: String) -> Result<u32, Failure> {
        // A reset terminates a run as well, and a retry may have taken the job up.
        let is_latest = Standing::Closed(run_id);
        if runs::standing(&self.client, job_id.as_str()).await? != is_latest
            || tombstone::is_there(self.storage, job_id).await?
        {
            return Ok(0);
        }
        match Manifest::read(self.storage, job_id).await? {
            Manifest::None => {
                let tidied = self.tidy(job_id, &Manifest::None).await?;
                tombstone::write(self.storage, job_id).await?;
                Ok(tidied.removed)
            }
            // An earlier run ended well, and is in the index.
            Manifest::Of(_) | Manifest::Unreadable => Ok(0),
        }
    }
}
