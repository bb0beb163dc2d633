//! `GET /v1/jobs/{id}/media`: the outputs of a job, a page at a time. The job itself contains the
//! first page.

use std::sync::Arc;

use darkroom_types::{
    job_id::JobId,
    request::ListMedia,
    resource::{self, MediaPage},
};
use darkroom_workflows::{
    contract::persist::PersistProgress,
    job::{JobState, Media, MediaOutcome, ObjectKey},
};
use futures::future::join_all;
use poem::{
    Response, handler,
    http::StatusCode,
    web::{Data, Path},
};

use super::find;
use crate::{
    access::Caller,
    context::Context,
    json,
    problem::{Kind, Problem, problems},
    query::Query,
};

problems!(Problems: NotFound, StorageUnavailable);

/// List the outputs of a job
///
/// Lists the outputs by position. A job contains its first 100 itself, and `media_next_cursor` if
/// there are more.
#[utoipa::path(
    get, path = "/v1/jobs/{job_id}/media", operation_id = "listMedia", tag = "Jobs",
    params(("job_id" = JobId, Path, description = "The job's id."), ListMedia),
    responses((status = 200, description = "A page of outputs.", body = MediaPage), Problems),
    security(("api_key" = [])),
)]
#[handler]
pub(crate) async fn list_media(
    Data(context): Data<&Arc<Context>>,
    caller: Caller,
    Path(job_id): Path<String>,
    Query(parameters): Query<ListMedia>,
) -> Result<Response, Problem> {
    let view = find(context, &caller, &job_id).await?;
    let begin = parameters.cursor.map(|cursor| cursor.parse()).transpose();
    let page = Page {
        begin: begin.map_err(|_| unknown_cursor())?.unwrap_or_default(),
        limit: parameters
            .limit
            .map_or(Page::FIRST.limit, |limit| limit.get().into()),
    };
    let page = MediaPage {
        media: page.read(context, &view.state, &view.progress).await,
        next_cursor: page.next_cursor(&view.state),
    };
    json::answer(StatusCode::OK, &page)
}

fn unknown_cursor() -> Problem {
    let detail = "the parameter cursor is invalid; begin without one";
    Problem::new(Kind::InvalidParameter, detail)
}

/// Page of the outputs of a job, which are ordered by position.
pub(super) struct Page {
    begin: usize,
    limit: usize,
}

impl Page {
    /// First page, which the job itself contains.
    pub(super) const FIRST: Self = Self {
        begin: 0,
        limit: 100,
    };

    pub(super) async fn read(
        &self,
        context: &Context,
        job: &JobState,
        progress: &[PersistProgress],
    ) -> Vec<resource::Media> {
        let media = job.media.iter().skip(self.begin).take(self.limit);
        let resources = media.map(|media| present(context, &job.job_id, progress, media));
        join_all(resources).await
    }

    /// Returns the cursor of the next page, if there is one.
    pub(super) fn next_cursor(&self, job: &JobState) -> Option<String> {
        let end = self.begin.saturating_add(self.limit);
        (end < job.media.len()).then(|| end.to_string())
    }
}

/// Converts an output into its resource.
async fn present(
    context: &Context,
    job_id: &JobId,
    progress: &[PersistProgress],
    media: &Media,
) -> resource::Media {
    let mut resource = resource::Media::new(media.index, media.name.clone(), media.status());
    match &media.outcome {
        MediaOutcome::Pending => {
            let progress = progress
                .iter()
                .find(|progress| progress.index == media.index);
            resource.bytes_done = progress.map(|progress| progress.bytes_done);
            resource.bytes_total = progress.and_then(|progress| progress.bytes_total);
        }
        MediaOutcome::Canceled => {}
        MediaOutcome::Failed { error, attempts } => {
            resource.error_message = Some(error.detail.clone());
            resource.error = Some(error.clone());
            resource.attempts = *attempts;
        }
        MediaOutcome::Completed(stored) => {
            resource.media_url = Some(format!("{}/media/{}", context.job_url(job_id), media.index));
            // A job can be read even if no URL can be signed: `media_url` reports the error.
            let url = async |key: &ObjectKey| {
                let url = context.presigned.url(context, key, stored.completed_at);
                url.await.ok()
            };
            resource.presigned_media_url = url(&stored.s3_key).await;
            if let Some(preview) = &stored.preview {
                let key = preview.key(job_id, media.index);
                resource.presigned_preview_url = url(&key).await;
                resource.thumbhash = Some(preview.thumbhash.clone());
            }
            resource.s3_key = Some(stored.s3_key.clone());
            resource.content_type = Some(stored.content_type.clone());
            resource.size = Some(stored.size);
            resource.bytes_done = Some(stored.size);
            resource.bytes_total = Some(stored.size);
            resource.sha256 = Some(stored.sha256);
            resource.width = stored.facts.width;
            resource.height = stored.facts.height;
            resource.duration_ms = stored.facts.duration_ms;
            resource.c2pa = Some(stored.facts.c2pa);
            resource.attempts = Some(stored.attempts);
            resource.started_at = Some(stored.started_at);
            resource.completed_at = Some(stored.completed_at);
        }
    }
    resource
}
