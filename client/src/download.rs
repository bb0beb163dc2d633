//! Downloads of outputs, verified against the job's size and SHA-256. An output is saved completely
//! or not at all.

use std::{io, path::Path, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use darkroom_types::{job_id::JobId, resource::Media};
use futures::StreamExt;
use reqwest::{Response, StatusCode};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::{fs::File, io::AsyncWriteExt};
use url::Url;

use crate::{Client, Error};

/// Limit of attempts at one output.
const ATTEMPTS: usize = 4;

impl Client {
    /// Saves an output as a file. It is written to a temporary file in the same directory, which
    /// replaces `path` only after its size and its SHA-256 match the job: readers see the earlier
    /// file or the complete one.
    ///
    /// # Errors
    /// If the output is not stored, cannot be downloaded, differs from the job's size or SHA-256,
    /// or if the file cannot be written.
    pub async fn save(&self, job_id: &JobId, media: &Media, path: &Path) -> Result<(), Error> {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(200))
            .with_max_times(ATTEMPTS - 1)
            .with_jitter();
        (|| self.save_once(job_id, media, path))
            .retry(backoff)
            .when(|error| matches!(error, Error::NotDownloaded { .. }))
            .await
    }

    async fn save_once(&self, job_id: &JobId, media: &Media, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::File {
            path: path.to_owned(),
            source,
        };
        let beside = beside(path).map_err(failed)?;
        let mut file = File::from_std(beside.reopen().map_err(failed)?);
        self.fetch(job_id, media, async |bytes| {
            file.write_all(bytes).await.map_err(failed)
        })
        .await?;
        // The error of the last write: `sync_all` would drop it.
        file.flush().await.map_err(failed)?;
        file.sync_all().await.map_err(failed)?;
        beside.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// Downloads a small output into memory.
    ///
    /// # Errors
    /// If the output is not stored, cannot be downloaded, or differs from the job's size or
    /// SHA-256.
    pub async fn read(&self, job_id: &JobId, media: &Media) -> Result<Vec<u8>, Error> {
        let mut read = Vec::new();
        self.fetch(job_id, media, async |bytes| {
            read.extend_from_slice(bytes);
            Ok(())
        })
        .await?;
        Ok(read)
    }

    /// Downloads the preview of an output, if it has one: JPEG or PNG, 512 pixels at its longer
    /// side. It uses the presigned URL in the job resource, which is valid for 45 minutes.
    ///
    /// # Errors
    /// If the preview cannot be downloaded.
    pub async fn read_preview(&self, media: &Media) -> Result<Option<Vec<u8>>, Error> {
        let Some(url) = media.presigned_preview_url.clone() else {
            return Ok(None);
        };
        let bytes = self.download(media.index, url).await?.bytes().await;
        let bytes = bytes.map_err(|error| not_downloaded(media.index, error))?;
        Ok(Some(bytes.into()))
    }

    /// Requests a presigned URL from the store.
    async fn download(&self, index: u32, url: Url) -> Result<Response, Error> {
        let response = self.get_without_key(url).send().await;
        let response = response.map_err(|error| not_downloaded(index, error))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(Error::NotDownloaded {
                index,
                what: format!("the store answered {status}"),
            }),
        }
    }

    async fn fetch(
        &self,
        job_id: &JobId,
        media: &Media,
        mut take: impl AsyncFnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let index = media.index;
        let url = self.media_url(job_id, index, None).await?.url;
        let mut bytes = self.download(index, url).await?.bytes_stream();
        let (mut sha256, mut size) = (Sha256::new(), 0);
        let corrupt = |what| Error::Corrupt { index, what };
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(|error| not_downloaded(index, error))?;
            size += chunk.len() as u64;
            if media.size.is_some_and(|expected| size > expected) {
                return Err(corrupt("it is longer".to_owned()));
            }
            sha256.update(&chunk);
            take(&chunk).await?;
        }
        if media.size.is_some_and(|expected| size != expected) {
            return Err(corrupt(format!("it ends after {size} bytes")));
        }
        let sha256 = <[u8; 32]>::from(sha256.finalize()).into();
        match &media.sha256 {
            Some(expected) if *expected != sha256 => {
                Err(corrupt(format!("its SHA-256 is {sha256}")))
            }
            _ => Ok(()),
        }
    }
}

fn not_downloaded(index: u32, error: reqwest::Error) -> Error {
    Error::NotDownloaded {
        index,
        // The presigned URL grants access without an API key, and is kept out of the message.
        what: error.without_url().to_string(),
    }
}

/// Creates a temporary file beside its final path, with the permissions of a new file.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let directory = match path.parent() {
        Some(directory) if directory != "" => directory,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".darkroom-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(directory)
}
