//! `sweep`: aborts multipart uploads that no attempt will finish. Whoever begins one ends it; this is for those who were killed
//! in between, and whose job is over.

use std::time::{Duration, SystemTime};

use darkroom_storage::{ListedUpload, Storage};
use darkroom_workflows::contract::sweep::{SweepInput, Swept};
use futures::{StreamExt, stream};

use crate::failure::Failure;

/// How many uploads are aborted at a time.
const CONCURRENCY: usize = 16;

/// Aborts all of our uploads that began longer ago than `input.older_than_seconds`.
///
/// # Errors
/// If the store refuses or cannot be reached.
pub async fn sweep(storage: &Storage, input: SweepInput) -> Result<Swept, Failure> {
    let mut swept = Swept::default();
    let mut after = None;
    loop {
        let page = storage.list_uploads("jobs/", after).await?;
        let mut old = page.uploads;
        old.retain(|listed| is_older(listed, input));
        let aborts = stream::iter(old)
            .map(|listed| async move { storage.abort_upload(&listed.upload).await });
        let outcomes: Vec<bool> = aborts.buffer_unordered(CONCURRENCY).collect().await;
        for aborted in outcomes {
            *(if aborted {
                &mut swept.aborted
            } else {
                &mut swept.failed
            }) += 1;
        }
        if page.next.is_none() {
            break;
        }
        after = page.next;
    }
    if swept != Swept::default() {
        tracing::info!(
            aborted = swept.aborted,
            failed = swept.failed,
            "swept multipart uploads"
        );
    }
    Ok(swept)
}

fn is_older(listed: &ListedUpload, input: SweepInput) -> bool {
    let age = listed
        .began
        .and_then(|began| SystemTime::now().duration_since(began).ok());
    age.is_some_and(|age| age >= Duration::from_secs(input.older_than_seconds.into()))
}
