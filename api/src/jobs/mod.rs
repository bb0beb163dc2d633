//! The routes of the job resource.
//!
//! - `create`, `cancel`, `retry`, `delete`: what a caller can have done
//! - `events`, `list`, `media`, `media_page`: what a caller can look at beside the job itself; `parameter`: how lists are asked for
//! - [`view`]: a job as it was read, shared by all who read it; `read` does the reading (and `reconstruct` where
//!   there is no worker to ask), `resource` the writing
//! - [`watch`]: following a job as it changes
//! - `idempotency`: one job for one key
//! - `answer`: what answers about a job have in common

mod answer;
mod cancel;
mod create;
mod delete;
mod events;
mod idempotency;
mod list;
mod media;
mod media_page;
mod parameter;
mod read;
mod reconstruct;
mod resource;
mod retry;

pub(crate) mod view;
pub(crate) mod watch;

use std::sync::Arc;

use darkroom_workflows::{
    job::{JobId, JobStatus},
    request::JobRequest,
};
use poem::{
    Request, Response,
    http::{StatusCode, header},
};
use poem_openapi::{
    OpenApi,
    param::{Header, Path, Query},
};
use uuid::Uuid;

use self::{
    answer::{applied, describe, is_known},
    cancel::Cancel,
    create::Create,
    delete::Delete,
    events::Events,
    list::List,
    media::ReadMedia,
    media_page::ListMedia,
    retry::{Retry, RetryRequest},
    view::View,
};
pub(crate) use self::{
    create::start,
    media::Presigned,
    reconstruct::{pending, recorded},
};
use crate::{
    Context,
    access::Caller,
    json::{Json, OptionalJson},
    openapi::{
        Tag,
        operation::{self, Content, Operation, Outcome, Success},
        schema,
    },
    prefer::Wait,
    problem::{Kind, Problem},
    request_id::RequestId,
};

/// The operations on jobs.
pub(crate) struct JobsApi(pub(crate) Arc<Context>);

#[OpenApi(prefix_path = "/v1/jobs", tag = "Tag::Jobs")]
impl JobsApi {
    /// Create a job
    ///
    /// Accepts a request. From here on the job cannot be lost. With an `Idempotency-Key`, asking again leads to the same
    /// job, at any time and after any failure: use one, and repeat a request whose answer was lost. For 90 days the key of a job
    /// that was deleted is answered with `410`.
    #[oai(path = "/", method = "post", operation_id = "createJob")]
    async fn create(
        &self,
        caller: Caller,
        request: &Request,
        /// A name of your own for this request: 1 to 255 visible ASCII characters.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        /// `wait=n` waits up to `n` seconds, 60 at most, for the job to end; `wait` alone, for 60.
        #[oai(name = "Prefer")]
        _prefer: Header<Option<String>>,
        body: Json<JobRequest, schema::JobRequest>,
    ) -> Outcome<Create> {
        let key = idempotency_key
            .0
            .map(|key| key.parse())
            .transpose()
            .map_err(|error| {
                Problem::new(
                    Kind::InvalidParameter,
                    format!("the header Idempotency-Key {error}"),
                )
            })?;
        let wait = Wait::of(request);
        let request_id = request.data::<RequestId>();
        Ok(
            create::create(&self.0, &caller, body.0, key, wait, request_id)
                .await?
                .into(),
        )
    }

    /// List jobs
    ///
    /// The unfinished ones first, the newest of them first; then those that have ended, the last one first. A job shows up
    /// here, and changes, a moment later than when it is read by itself.
    #[oai(path = "/", method = "get", operation_id = "listJobs")]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a parameter of the operation"
    )]
    async fn list(
        &self,
        caller: Caller,
        /// Only jobs that stand so. Jobs that no worker has taken up yet count as `processing`.
        status: Query<Option<String>>,
        /// Only jobs of this model: exactly as it was asked for.
        model: Query<Option<String>>,
        /// Only jobs that were created at this time (RFC 3339) or later.
        created_after: Query<Option<String>>,
        /// Only jobs that were created before this time.
        created_before: Query<Option<String>>,
        /// How many at a time: 1 to 100, 20 if not said.
        limit: Query<Option<String>>,
        /// Where to go on: `next_cursor` of the page before, with the same filters.
        cursor: Query<Option<String>>,
    ) -> Outcome<List> {
        let parameters = list::Parameters {
            status: status.0,
            model: model.0,
            created_after: created_after.0,
            created_before: created_before.0,
            limit: limit.0,
            cursor: cursor.0,
        };
        Ok(list::list(&self.0, &caller, parameters).await?.into())
    }

    /// Read a job
    ///
    /// Answers whether workers are there or not: what could not be asked of one is marked `"stale": true`.
    #[oai(path = "/:job_id", method = "get", operation_id = "getJob")]
    async fn read(
        &self,
        caller: Caller,
        request: &Request,
        job_id: Path<String>,
        /// The `ETag` of the job as you know it: answers `304` while it is the same.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
        /// `wait=n` waits up to `n` seconds, 60 at most, for the job to change.
        #[oai(name = "Prefer")]
        _prefer: Header<Option<String>>,
    ) -> Outcome<Read> {
        let view = find(&self.0, &caller, &job_id.0).await?;
        let wait = Wait::of(request);
        let known = if_none_match.0.unwrap_or_default();
        let view = match wait {
            Some(wait) if !view.has_ended() => {
                let etag = view.etag.clone();
                let is_news = |view: &View| {
                    !is_known(&known, view) && (!known.is_empty() || view.etag != etag)
                };
                watch::until(&self.0, &caller, view, wait, is_news).await?
            }
            _ => view,
        };
        if is_known(&known, &view) {
            let response = Response::builder()
                .status(StatusCode::NOT_MODIFIED)
                .header(header::ETAG, &view.etag);
            return Ok(applied(response, wait).finish().into());
        }
        Ok(applied(describe(&view, StatusCode::OK), wait)
            .body(view.body.clone())
            .into())
    }

    /// Follow a job
    ///
    /// Server-sent events: `event: job` with the job as `data` for each state that it is found in, from the present one on;
    /// the `id` is its `ETag`. Everybody who follows a job sees the same states in the same order; one that passes while the
    /// job is being read is not among them. Ends when the job does. An `EventSource` that was cut off goes on by itself.
    #[oai(path = "/:job_id/events", method = "get", operation_id = "followJob")]
    async fn events(
        &self,
        caller: Caller,
        job_id: Path<String>,
        /// The `id` of the last event that you have: it is not repeated.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
    ) -> Outcome<Events> {
        let view = find(&self.0, &caller, &job_id.0).await?;
        // It may have been taken up again since.
        let may_go_on = matches!(view.state.status, JobStatus::Partial | JobStatus::Failed);
        let view = if may_go_on {
            find_current(&self.0, &caller, &job_id.0).await?
        } else {
            view
        };
        Ok(events::events(&self.0, &caller, view, last_event_id.0.as_deref())?.into())
    }

    /// Cancel a job
    ///
    /// Asks the job to stop. What came of it shows in the job, soon; what is stored by then stays.
    #[oai(path = "/:job_id/cancel", method = "post", operation_id = "cancelJob")]
    async fn cancel(&self, caller: Caller, job_id: Path<String>) -> Outcome<Cancel> {
        Ok(cancel::cancel(&self.0, &caller, &job_id.0).await?.into())
    }

    /// Retry a job
    ///
    /// Takes a job that is `partial` or `failed` up again, under the same id. What is stored stays; what is missing is fetched
    /// again for as long as the provider keeps it. To have it made again costs money, and is done only if asked for.
    #[oai(path = "/:job_id/retry", method = "post", operation_id = "retryJob")]
    async fn retry(
        &self,
        caller: Caller,
        request: &Request,
        job_id: Path<String>,
        body: OptionalJson<RetryRequest, schema::RetryRequest>,
    ) -> Outcome<Retry> {
        Ok(
            retry::retry(&self.0, &caller, &job_id.0, &body.0, request.data())
                .await?
                .into(),
        )
    }

    /// Delete a job
    ///
    /// Removes the job, all that it has stored and all that is known of it; one that is under way is canceled first. It counts as
    /// gone at once, and is when the job has ended and store and Temporal have let go of it. Its `Idempotency-Key` stays taken for 90 days. What the provider has of it, and backups
    /// have, is not ours to remove.
    #[oai(path = "/:job_id", method = "delete", operation_id = "deleteJob")]
    async fn delete(&self, caller: Caller, job_id: Path<String>) -> Outcome<Delete> {
        Ok(delete::delete(&self.0, &caller, &job_id.0).await?.into())
    }

    /// List the outputs of a job
    ///
    /// By position. A job shows its first 100 itself, and with `media_next_cursor` where there are more.
    #[oai(path = "/:job_id/media", method = "get", operation_id = "listMedia")]
    async fn list_media(
        &self,
        caller: Caller,
        job_id: Path<String>,
        /// How many at a time: 1 to 100, 100 if not said.
        limit: Query<Option<String>>,
        /// Where to go on: `next_cursor` of the page before, or the job's `media_next_cursor`.
        cursor: Query<Option<String>>,
    ) -> Outcome<ListMedia> {
        let view = find(&self.0, &caller, &job_id.0).await?;
        Ok(media_page::list(&self.0, &view, limit.0, cursor.0)
            .await?
            .into())
    }

    /// Read an output
    ///
    /// Leads to the output by a URL that whoever has it can use for 45 minutes at least.
    #[oai(
        path = "/:job_id/media/:index",
        method = "get",
        operation_id = "getMedia"
    )]
    async fn media(
        &self,
        caller: Caller,
        job_id: Path<String>,
        index: Path<String>,
    ) -> Outcome<ReadMedia> {
        let view = find(&self.0, &caller, &job_id.0).await?;
        Ok(media::lead(&self.0, &view, &index.0).await?.into())
    }
}

/// Reading a job.
struct Read;

impl Operation for Read {
    const SUCCESSES: &'static [Success] = &[
        Success {
            status: 200,
            description: "The job.",
            content: Content::Job,
            headers: &[
                operation::ETAG,
                operation::RETRY_AFTER,
                operation::PREFERENCE_APPLIED,
            ],
        },
        Success {
            status: 304,
            description: "The job is as you know it.",
            content: Content::None,
            headers: &[operation::ETAG, operation::PREFERENCE_APPLIED],
        },
    ];
    const PROBLEMS: &'static [Kind] = &[
        Kind::NotFound,
        Kind::TooManyFollowers,
        Kind::StorageUnavailable,
    ];
}

/// A job of the caller's as it was a moment ago. One of another tenant does not exist.
pub(crate) async fn find(
    context: &Context,
    caller: &Caller,
    job_id: &str,
) -> Result<Arc<View>, Problem> {
    let job_id = parse_id(context, job_id)?;
    owned(caller, context.views.recent(context, &job_id).await?)
}

/// The same as it is now.
async fn find_current(
    context: &Context,
    caller: &Caller,
    job_id: &str,
) -> Result<Arc<View>, Problem> {
    let job_id = parse_id(context, job_id)?;
    owned(caller, context.views.current(context, &job_id).await?)
}

fn owned(caller: &Caller, view: Arc<View>) -> Result<Arc<View>, Problem> {
    if view.state.tenant.as_ref() == caller.tenant() {
        Ok(view)
    } else {
        Err(Problem::not_found("job"))
    }
}

#[expect(
    clippy::expect_used,
    reason = "a job id is a UUID in its hyphenated form"
)]
fn job_id(uuid: Uuid) -> JobId {
    uuid.hyphenated().to_string().parse().expect("a UUID")
}

/// The id of a job that there may be.
fn parse_id(context: &Context, text: &str) -> Result<JobId, Problem> {
    let job_id: Option<JobId> = text.parse().ok();
    job_id
        .filter(|job_id| !context.views.is_deleted(job_id))
        .ok_or_else(|| Problem::not_found("job"))
}
