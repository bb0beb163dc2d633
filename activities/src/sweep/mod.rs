//! `sweep`: removes from the store what belongs to nobody: what was on its way when its attempt was killed, and what a canceled
//! attempt had written nevertheless. Whatever a manifest names, and whatever is young or of a job that is open, stays.
//!
//! - `uploads`: multipart uploads that no attempt will finish
//! - `jobs`: going through the jobs that have ended by the index, and through the tombstones of those that were deleted
//! - `terminated`: jobs that were ended from outside, of which the store has no record
//! - `place`: where the next sweep goes on

mod jobs;
mod place;
mod terminated;
mod uploads;

use std::{collections::BTreeSet, time::Duration};

use darkroom_storage::Storage;
use darkroom_workflows::{
    contract::sweep::{SweepInput, Swept},
    job::JobId,
};
use temporalio_client::Client;
use temporalio_sdk::activities::ActivityContext;

use crate::{
    failure::Failure,
    heartbeat::{Handover, Heartbeat},
    manifest::Manifest,
    metrics,
    runs::{self, Standing},
};

/// How many uploads or jobs are dealt with at a time.
const CONCURRENCY: usize = 16;

/// The most keys of a page.
const PAGE: u16 = 1000;

/// Removes what is old enough and belongs to nobody.
///
/// # Errors
/// If the store or Temporal refuses or cannot be reached.
pub async fn sweep(
    storage: &Storage,
    ctx: &ActivityContext,
    handover: Handover,
    input: SweepInput,
) -> Result<Swept, Failure> {
    let heartbeat = Heartbeat::start(ctx, handover);
    heartbeat.note(&()).await?;
    let sweep = Sweep {
        storage,
        client: ctx.client(),
        input,
    };
    let swept = heartbeat.until_interrupted(Box::pin(sweep.run())).await;
    heartbeat.end(swept).await
}

/// One sweep.
struct Sweep<'a> {
    storage: &'a Storage,
    client: Client,
    input: SweepInput,
}

impl Sweep<'_> {
    async fn run(&self) -> Result<Swept, Failure> {
        let mut swept = Swept::default();
        self.abort_uploads(&mut swept).await?;
        self.go_through_jobs(&mut swept).await?;
        self.bury_terminated(&mut swept).await?;
        tracing::info!(?swept, "swept the store");
        Ok(swept)
    }

    /// How old an object must be to count as abandoned.
    fn age(&self) -> Duration {
        Duration::from_secs(self.input.objects_older_than_seconds.into())
    }

    /// Removes what lies in a job's place that its manifest does not name, and returns how much. A job that is open has no
    /// manifest yet, or one of an earlier run.
    async fn tidy(&self, job_id: &JobId, manifest: &Manifest) -> Result<Tidied, Failure> {
        let named = match manifest {
            Manifest::None => BTreeSet::new(),
            Manifest::Of(job) => job.stored_keys(),
            // It may name anything.
            Manifest::Unreadable => {
                tracing::error!(%job_id, "a manifest makes no sense");
                return Ok(Tidied::default());
            }
        };
        let prefix = job_id.prefix();
        let (mut tidied, mut after, mut is_closed) = (Tidied::default(), None, false);
        loop {
            let page = self.storage.list(&prefix, after.as_deref(), PAGE).await?;
            for object in &page.objects {
                if named.contains(&object.key) || !object.is_older_than(self.age()) {
                    tidied.is_left = true;
                    continue;
                }
                is_closed = is_closed || self.is_closed(job_id).await?;
                if !is_closed {
                    tidied.is_left = true;
                    return Ok(tidied);
                }
                self.storage.delete(&object.key).await?;
                tidied.removed += 1;
                metrics::removed();
                tracing::info!(key = object.key, "removed an object that no manifest names");
            }
            match page.objects.into_iter().next_back() {
                Some(last) if page.has_more => after = Some(last.key),
                _ => return Ok(tidied),
            }
        }
    }

    async fn is_closed(&self, job_id: &JobId) -> Result<bool, Failure> {
        Ok(runs::standing(&self.client, job_id.as_str()).await? != Standing::Open)
    }
}

/// What became of a job's place.
#[derive(Clone, Copy, Debug, Default)]
struct Tidied {
    removed: u32,
    /// Whether anything is left there.
    is_left: bool,
}
