//! The outputs of a job as HTTP presents them, a page at a time: the job itself has the first, and
//! `GET /v1/jobs/{id}/media` the others.

use darkroom_workflows::{
    contract::persist::PersistProgress,
    failure::JobError,
    job::{JobState, Media, MediaOutcome, MediaStatus},
};
use futures::future::join_all;
use jiff::Timestamp;
use poem::Response;
use serde::Serialize;
use url::Url;

use super::{
    parameter::{parse, parse_limit},
    view::View,
};
use crate::{
    Context, json,
    openapi::operation::{Content, Operation, Success},
    problem::{Kind, Problem},
};

/// Listing the outputs of a job.
pub(super) struct ListMedia;

impl Operation for ListMedia {
    const SUCCESSES: &'static [Success] = &[Success {
        status: 200,
        description: "Some outputs.",
        content: Content::MediaPage,
        headers: &[],
    }];
    const PROBLEMS: &'static [Kind] = &[Kind::NotFound, Kind::StorageUnavailable];
}

#[derive(Serialize)]
struct Body {
    media: Vec<MediaResource>,
    next_cursor: Option<String>,
}

pub(super) async fn list(
    context: &Context,
    view: &View,
    limit: Option<String>,
    cursor: Option<String>,
) -> Result<Response, Problem> {
    let first = Page::FIRST;
    let page = Page {
        limit: parse("limit", limit, parse_limit)?.map_or(first.limit, usize::from),
        begin: parse("cursor", cursor, parse_cursor)?.unwrap_or(first.begin),
    };
    let body = Body {
        media: page.read(context, &view.state, &view.progress).await,
        next_cursor: page.next_cursor(&view.state),
    };
    Ok(Response::builder()
        .content_type("application/json")
        .body(json::write(&body)?))
}

fn parse_cursor(text: &str) -> Result<usize, String> {
    let none = "is none that was given out; begin without one";
    text.parse().map_err(|_| none.to_owned())
}

/// Some of the outputs of a job, which are in the order of their positions.
pub(super) struct Page {
    begin: usize,
    limit: usize,
}

impl Page {
    /// The outputs that a job shows itself.
    pub(super) const FIRST: Self = Self {
        begin: 0,
        limit: 100,
    };

    pub(super) async fn read(
        &self,
        context: &Context,
        job: &JobState,
        progress: &[PersistProgress],
    ) -> Vec<MediaResource> {
        let job_url = &context.url(&format!("/v1/jobs/{}", job.job_id));
        let media = job.media.iter().skip(self.begin).take(self.limit);
        let resources = media.map(|media| MediaResource::of(context, job_url, progress, media));
        join_all(resources).await
    }

    /// Where there are more.
    pub(super) fn next_cursor(&self, job: &JobState) -> Option<String> {
        let end = self.begin.saturating_add(self.limit);
        (end < job.media.len()).then(|| end.to_string())
    }
}

/// One output.
#[derive(Serialize)]
pub(super) struct MediaResource {
    index: u32,
    /// What the provider calls it.
    name: Option<String>,
    status: MediaStatus,
    /// Leads to the output for as long as the job is known.
    media_url: Option<String>,
    s3_key: Option<String>,
    /// Leads to the output for an hour, for whoever has it.
    presigned_media_url: Option<Url>,
    content_type: Option<String>,
    size: Option<u64>,
    /// How many bytes of an output on its way have come so far, and how many there are if it is known.
    bytes_done: Option<u64>,
    bytes_total: Option<u64>,
    sha256: Option<String>,
    /// What was seen of a picture or a video; null where it was not.
    width: Option<u32>,
    height: Option<u32>,
    duration_ms: Option<u64>,
    /// Whether it carries Content Credentials.
    c2pa: Option<bool>,
    attempts: Option<u32>,
    error: Option<JobError>,
    error_message: Option<String>,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

impl MediaResource {
    async fn of(
        context: &Context,
        job_url: &str,
        progress: &[PersistProgress],
        media: &Media,
    ) -> Self {
        let mut resource = Self::without_particulars(media);
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
                resource.media_url = Some(format!("{job_url}/media/{}", media.index));
                // A job that is there can be read, whatever becomes of the credentials: `media_url` says what is wrong.
                resource.presigned_media_url =
                    context.presigned.url(context, &stored.s3_key).await.ok();
                resource.s3_key = Some(stored.s3_key.clone());
                resource.content_type = Some(stored.content_type.clone());
                resource.size = Some(stored.size);
                resource.bytes_done = Some(stored.size);
                resource.bytes_total = Some(stored.size);
                resource.sha256 = Some(stored.sha256.clone());
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

    fn without_particulars(media: &Media) -> Self {
        Self {
            index: media.index,
            name: media.name.clone(),
            status: media.status(),
            media_url: None,
            s3_key: None,
            presigned_media_url: None,
            content_type: None,
            size: None,
            bytes_done: None,
            bytes_total: None,
            sha256: None,
            width: None,
            height: None,
            duration_ms: None,
            c2pa: None,
            attempts: None,
            error: None,
            error_message: None,
            started_at: None,
            completed_at: None,
        }
    }
}
