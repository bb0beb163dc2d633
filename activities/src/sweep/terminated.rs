//! Jobs that were ended from outside: they wrote no manifest. Their ids stay taken by a tombstone,
//! and what they stored is removed by that once Temporal has forgotten them: until then they can be
//! read, and taken up again.

use darkroom_temporal::runs::{self, LatestRun, RunId};
use darkroom_workflows::{
    contract::sweep::Swept,
    job::{JobId, Tombstone},
};

use super::Sweep;
use crate::{failure::Failure, manifest::Manifest, tombstone};

/// Runs of a page.
const PAGE: u16 = 500;

/// The jobs that were ended from outside, as far as Temporal knows them.
const TERMINATED: &str =
    "WorkflowType = 'MediaGeneration' AND ExecutionStatus IN ('Terminated', 'TimedOut')";

impl Sweep<'_> {
    pub(super) async fn bury_terminated(&self, swept: &mut Swept) -> Result<(), Failure> {
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
                if let Err(failure) = self.bury(&job_id, run_id).await {
                    swept.failed += 1;
                    tracing::warn!(%job_id, %failure, "cannot sweep");
                }
            }
            token = page.next_page_token;
            if token.is_empty() {
                return Ok(());
            }
        }
    }

    async fn bury(&self, job_id: &JobId, run_id: String) -> Result<(), Failure> {
        // A reset terminates a run as well, and a retry may have taken the job up.
        let is_latest = LatestRun::Closed(run_id);
        let is_last_word = tombstone::read(self.storage, job_id).await?.is_none()
            && runs::latest(&self.client, job_id.as_str()).await? == is_latest
            // Else an earlier run ended well, and is in the index.
            && matches!(Manifest::read(self.storage, job_id).await?, Manifest::None);
        if is_last_word {
            tombstone::write(self.storage, job_id, Tombstone::Terminated).await?;
        }
        Ok(())
    }
}
