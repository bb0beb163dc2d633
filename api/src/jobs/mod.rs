//! The job resource.
//!
//! One file a route: [`create`], [`list`], [`get`], [`follow`], [`follow_all`], [`cancel`], [`retry`], [`delete`], [`list_media`],
//! [`get_media`]. What they share:
//!
//! - [`view`]: a job as it was read, shared by all who read it; `load` does the reading (and `reconstruct` where there is no
//!   worker to ask), `resource` the writing
//! - `start`: starting a run of a job's workflow
//! - `idempotency`: one job for one key
//! - `lists`: pages of Temporal's visibility store, and `past` of the index in the store; `found`: a run that is in one
//! - `presigned`: URLs that lead to outputs
//! - `answer`: what answers about a job have in common

pub(crate) mod cancel;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod follow;
pub(crate) mod follow_all;
pub(crate) mod get;
pub(crate) mod get_media;
pub(crate) mod get_media_url;
pub(crate) mod list;
pub(crate) mod list_media;
pub(crate) mod retry;

mod answer;
mod found;
mod idempotency;
mod lists;
mod load;
mod past;
mod presigned;
mod reconstruct;
mod resource;
mod start;

pub(crate) mod view;

use std::sync::Arc;

use darkroom_workflows::job::JobId;
use uuid::Uuid;

use self::view::View;
pub(crate) use self::{
    found::Found,
    lists::Lists,
    presigned::Presigned,
    reconstruct::recorded,
    start::{Run, start},
};
use crate::{access::Caller, context::Context, problem::Problem};

/// A job of the caller's as it was a moment ago. One of another tenant does not exist.
pub(crate) async fn find(
    context: &Context,
    caller: &Caller,
    job_id: &str,
) -> Result<Arc<View>, Problem> {
    let job_id = parse_id(context, job_id)?;
    owned(caller, context.views.recent(context, &job_id).await?)
}

/// A job of the caller's as it was last seen, if somebody follows it.
fn find_watched(context: &Context, caller: &Caller, job_id: &str) -> Option<Arc<View>> {
    let job_id = parse_id(context, job_id).ok()?;
    owned(caller, context.watches.latest(&job_id)?).ok()
}

/// A job as it is now.
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
