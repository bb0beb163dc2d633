//! `sweep`: aborts multipart uploads that nobody finishes. Whoever begins one ends it; this is for those who were killed in
//! between, and whose job is over.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::{
    error::ProvideErrorMetadata, operation::list_multipart_uploads::ListMultipartUploadsOutput,
    types::MultipartUpload,
};
use darkroom_storage::Storage;
use darkroom_workflows::contract::sweep::{SweepInput, Swept};
use futures::{StreamExt, stream};

use crate::{
    failure::Failure,
    persist::{abort, storage_failure},
};

/// How many uploads are aborted at a time.
const CONCURRENCY: usize = 16;

/// Aborts all of our uploads that began longer ago than `input.older_than_seconds`.
///
/// # Errors
/// If the store refuses or cannot be reached.
pub async fn sweep(storage: &Storage, input: SweepInput) -> Result<Swept, Failure> {
    let mut swept = Swept::default();
    let mut page = Some((None, None));
    while let Some((key_marker, id_marker)) = page {
        let request = storage
            .client
            .list_multipart_uploads()
            .bucket(&storage.bucket)
            .prefix(storage.full_key("jobs/"));
        let listed = request
            .set_key_marker(key_marker)
            .set_upload_id_marker(id_marker)
            .send()
            .await;
        let listed = match listed {
            Ok(listed) => listed,
            // Some stores cannot list them, and have no use for a sweep.
            Err(error) if error.code() == Some("NotImplemented") => return Ok(swept),
            Err(error) => return Err(storage_failure(&error.into())),
        };
        let mut old = Vec::new();
        for upload in listed.uploads() {
            if let (Some(key), Some(id), true) =
                (upload.key(), upload.upload_id(), is_older(upload, input))
            {
                old.push((key.to_owned(), id.to_owned()));
            }
        }
        let aborts =
            stream::iter(old).map(|(key, id)| async move { abort(storage, &key, &id).await });
        let outcomes: Vec<bool> = aborts.buffer_unordered(CONCURRENCY).collect().await;
        for aborted in outcomes {
            *(if aborted {
                &mut swept.aborted
            } else {
                &mut swept.failed
            }) += 1;
        }
        page = next_page(listed);
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

fn is_older(upload: &MultipartUpload, input: SweepInput) -> bool {
    let began = upload
        .initiated()
        .and_then(|initiated| SystemTime::try_from(*initiated).ok());
    let age = began.and_then(|began| SystemTime::now().duration_since(began).ok());
    age.is_some_and(|age| age >= Duration::from_secs(input.older_than_seconds.into()))
}

fn next_page(listed: ListMultipartUploadsOutput) -> Option<(Option<String>, Option<String>)> {
    let is_truncated = listed.is_truncated() == Some(true);
    let more = is_truncated && listed.next_key_marker.is_some();
    more.then_some((listed.next_key_marker, listed.next_upload_id_marker))
}
