//! Opens the source of an output. The host may not have the file yet, or send an error page in its
//! place: then it is asked again, and the provider is asked for the current URL. The requests
//! themselves are in `source`.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use darkroom_providers::{Provider, ProviderError};
use darkroom_workflows::{
    contract::persist::PersistInput, failure::FailureType, job::OutputSource, request::OutputFormat,
};

use super::{
    checkpoint::UploadCheckpoint,
    media_type,
    memory::Memory,
    source::{OpenError, Range, Source, Sources, is_inline},
    turns::Turn,
};
use crate::{failure::Failure, generate::retryable_after_purchase};

/// Exponential backoff of the requests for a file that its host does not have yet, or that the
/// provider does not show yet.
const APPEARANCE: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_secs(1))
    .with_factor(2.0)
    .with_max_delay(Duration::from_secs(8))
    .without_max_times()
    .with_total_delay(Some(Duration::from_secs(40)));

/// Number of requests to the host for each time that the provider is asked for the current URL.
const REQUESTS_PER_URL_LOOKUP: u32 = 3;

/// Opener of the source of an output.
pub(super) struct SourceOpener<'a> {
    pub(super) sources: &'a Sources,
    pub(super) provider: &'a dyn Provider,
    pub(super) memory: &'a Memory,
    pub(super) input: &'a PersistInput,
}

impl SourceOpener<'_> {
    /// Opens the source, at the position that the upload under way has reached if the host allows
    /// it. Waits for a file that the host does not have yet, and follows one that has moved.
    pub(super) async fn open(&self, upload: Option<&UploadCheckpoint>) -> Result<Source, Failure> {
        let mut backoff = APPEARANCE.build();
        let (mut url, mut permit) = match &self.input.source {
            OutputSource::Url(url) => (url.clone(), None),
            OutputSource::Prediction | OutputSource::Withheld => self.current_url().await?,
        };
        for request in 0.. {
            let failure = match self.open_at(&url, upload).await {
                Ok(source) => {
                    let mut source = source.with_permit(permit.take());
                    match self.error_page(&mut source).await? {
                        Some(failure) => failure,
                        None => return Ok(source),
                    }
                }
                Err(error) => {
                    let may_be_elsewhere =
                        may_have_moved(&error) && request % REQUESTS_PER_URL_LOOKUP == 0;
                    if may_be_elsewhere {
                        let (current, its_permit) = self.current_url().await?;
                        if current != url {
                            (url, permit) = (current, its_permit);
                            continue;
                        }
                    }
                    match error {
                        OpenError::Absent(failure) => failure,
                        OpenError::Failed(failure) => return Err(failure),
                    }
                }
            };
            let Some(delay) = backoff.next() else {
                return Err(failure);
            };
            tracing::debug!(%failure, "the host does not have the output yet; trying again");
            tokio::time::sleep(delay).await;
        }
        unreachable!("the loop ends by returning")
    }

    /// Returns a failure if the host sent an error page instead of media, as some hosts do until
    /// the file is there. Checks only the beginning of a file, and no inline outputs, which come
    /// from the provider itself.
    async fn error_page(&self, source: &mut Source) -> Result<Option<Failure>, Failure> {
        if source.position() > 0 || source.is_inline() {
            return Ok(None);
        }
        let head = source.peek(media_type::HEAD).await?;
        let asked_for_media = self.input.output_format.is_some_and(OutputFormat::is_media);
        let is_page = media_type::is_error_page(&head, source.hints(), asked_for_media);
        Ok(is_page.then(|| {
            let detail =
                "the output's host sent text in place of an image, a sound or a video file";
            Failure::new(FailureType::UnsupportedMedia, detail)
        }))
    }

    async fn open_at(
        &self,
        url: &str,
        upload: Option<&UploadCheckpoint>,
    ) -> Result<Source, OpenError> {
        if let Some(UploadCheckpoint {
            bytes,
            validator: Some(validator),
            ..
        }) = upload
        {
            let rest = Range {
                position: *bytes,
                validator,
            };
            match self.sources.open(url, Some(rest)).await {
                // The host may have trouble with the range only: then the whole file is requested.
                Err(OpenError::Failed(failure))
                    if failure.kind() == Some(FailureType::SourceUnavailable) => {}
                opened => return opened,
            }
        }
        self.sources.open(url, None).await
    }

    /// Returns the current URL of the output, as the provider reports it. A prediction with
    /// inline files is large and must be read as a whole, so one is read at a time: an inline file
    /// comes with the permit, to be held for as long as the file is in memory.
    ///
    /// A read may lag behind the end of the prediction: what is not there is asked for again.
    async fn current_url(&self) -> Result<(String, Option<Turn>), Failure> {
        let mut backoff = APPEARANCE.build();
        let (url, permit) = loop {
            let tenant = self.input.tenant.as_ref();
            let permit = Some(self.memory.inline_permit(tenant).await);
            let position = usize::try_from(self.input.index).unwrap_or(usize::MAX);
            let name = self.input.name.as_deref();
            let output = self.provider.output(&self.input.prediction, position, name);
            let output = output.await;
            let delay = match output {
                Err(ProviderError::NotFound) => backoff.next(),
                Ok(_) | Err(_) => None,
            };
            let Some(delay) = delay else {
                break (output.map_err(source_failure)?, permit);
            };
            drop(permit);
            tokio::time::sleep(delay).await;
        };
        let url = url.ok_or_else(|| {
            Failure::new(
                FailureType::SourceExpired,
                "the provider has removed the output",
            )
        })?;
        let permit = permit.filter(|_| is_inline(&url));
        Ok((url, permit))
    }
}

/// Returns true if the source can no longer be downloaded.
pub(super) fn is_gone(failure: &Failure) -> bool {
    matches!(
        failure.kind(),
        Some(FailureType::SourceExpired | FailureType::SourceRejected)
    )
}

/// Converts an error of reading the output's URL. If the provider no longer knows the prediction,
/// its outputs are gone as well.
fn source_failure(error: ProviderError) -> Failure {
    match error {
        ProviderError::NotFound => Failure::new(FailureType::SourceExpired, error.to_string()),
        error => retryable_after_purchase(error),
    }
}

/// Returns true if the provider may know another URL by now: links expire, and so do the signatures
/// in them.
fn may_have_moved(error: &OpenError) -> bool {
    match error {
        OpenError::Absent(_) => true,
        OpenError::Failed(failure) => is_gone(failure),
    }
}
