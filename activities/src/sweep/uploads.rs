//! Aborts multipart uploads that no attempt will finish. An attempt completes or aborts the uploads
//! that it begins; this is for attempts that were killed in between, and whose job is over.

use std::time::{Duration, SystemTime};

use darkroom_storage::ListedUpload;
use darkroom_workflows::contract::sweep::Swept;
use futures::{StreamExt, stream};

use super::{CONCURRENCY, Sweep};
use crate::failure::Failure;

impl Sweep<'_> {
    /// Aborts all uploads under `jobs/` that were begun long enough ago.
    pub(super) async fn abort_uploads(&self, swept: &mut Swept) -> Result<(), Failure> {
        let age = Duration::from_secs(self.input.uploads_older_than_seconds.into());
        let mut after = None;
        loop {
            let page = self.storage.list_uploads("jobs/", after).await?;
            let mut old = page.uploads;
            old.retain(|listed| is_older_than(listed, age));
            let aborts = stream::iter(old)
                .map(|listed| async move { self.storage.abort_upload(&listed.upload).await });
            let outcomes: Vec<bool> = aborts.buffer_unordered(CONCURRENCY).collect().await;
            for aborted in outcomes {
                *(if aborted {
                    &mut swept.aborted
                } else {
                    &mut swept.failed
                }) += 1;
            }
            if page.next.is_none() {
                return Ok(());
            }
            after = page.next;
        }
    }
}

fn is_older_than(listed: &ListedUpload, age: Duration) -> bool {
    let began = listed.began;
    let elapsed = began.and_then(|began| SystemTime::now().duration_since(began).ok());
    elapsed.is_some_and(|elapsed| elapsed >= age)
}
