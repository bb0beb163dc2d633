//! Tombstones for jobs that were terminated or timed out, and therefore wrote no manifest. The
//! tombstone keeps the job id taken. It also lets the sweep remove what the job stored once
//! Temporal no longer knows the job: until then it can be read and retried.

use darkroom_temporal::runs::{self, LatestRun, RunId};
use darkroom_workflows::{
    contract::sweep::Swept,
    job::{JobId, Tombstone},
};

use super::Sweep;
use crate::{failure::Failure, manifest::Manifest, tombstone};

/// Runs per page.
const PAGE: u16 = 500;

/// List filter of the jobs that were terminated or timed out.
const TERMINATED: &str =
    "WorkflowType = 'MediaGeneration' AND ExecutionStatus IN ('Terminated', 'TimedOut')";

impl Sweep<'_> {
    pub(super) async fn sweep_terminated(&self, swept: &mut Swept) -> Result<(), Failure> {
        let mut token = Vec::new();
        loop {
            let page = runs::list(&self.client, TERMINATED.to_owned(), PAGE, token).await?;
            for run in page.runs {
                let RunId {
                    workflow_id,
                    run_id,
                } = run.id;
                let Ok(job_id) = workflow_id.parse::<JobId>() else {
                    continue;
                };
                if let Err(failure) = self.write_tombstone(&job_id, run_id).await {
                    swept.failed += 1;
                    tracing::warn!(%job_id, %failure, "cannot sweep a terminated job");
                }
            }
            token = page.next_page_token;
            if token.is_empty() {
                return Ok(());
            }
        }
    }

    async fn write_tombstone(&self, job_id: &JobId, run_id: String) -> Result<(), Failure> {
        // A reset terminates a run as well, and the job may have been retried.
        let is_latest = LatestRun::Closed(run_id);
        let needs_tombstone = tombstone::read(self.storage, job_id).await?.is_none()
            && runs::latest(&self.client, &job_id.to_string()).await? == is_latest
            // A manifest means that an earlier run ended, and is in the index.
            && matches!(Manifest::read(self.storage, job_id).await?, Manifest::None);
        if needs_tombstone {
            tombstone::write(self.storage, job_id, Tombstone::Terminated).await?;
        }
        Ok(())
    }
}
