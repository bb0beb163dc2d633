//! The job resource, one file per route: [`create`], [`list`], [`get`], [`follow`], [`follow_all`],
//! [`cancel`], [`retry`], [`delete`], [`list_media`], [`get_media`], [`get_media_url`].
//!
//! Shared by them, in reading order:
//!
//! - `start`: starts a run of a job's workflow
//! - `idempotency`: derives the id of a job from its key
//! - `retryable`: decides what a retry does
//! - [`view`]: caches jobs as they were read
//! - `load`: reads the state of a job; `reconstruct`: rebuilds it if no worker answers
//! - `resource`: converts a state into the job resource
//! - `answer`: common parts of responses about a job
//! - `presigned`: presigned URLs of outputs

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
mod idempotency;
mod load;
mod presigned;
mod reconstruct;
mod resource;
mod retryable;
mod start;

pub(crate) mod view;

use std::sync::Arc;

use darkroom_workflows::job::JobId;

use self::view::View;
pub(crate) use self::{
    list::{FoundRun, ListPages},
    presigned::Presigned,
    reconstruct::recorded,
    start::{Run, priority, start},
};
use crate::{access::Caller, context::Context, problem::Problem};

/// Returns a job of the caller, at most a moment old. Jobs of other tenants are not found.
pub(crate) async fn find(
    context: &Context,
    caller: &Caller,
    job_id: &str,
) -> Result<Arc<View>, Problem> {
    let job_id = parse_id(context, job_id)?;
    owned(caller, context.views.recent(context, &job_id).await?)
}

/// Returns a job of the caller as its watch last saw it, if it is followed.
fn find_watched(context: &Context, caller: &Caller, job_id: &str) -> Option<Arc<View>> {
    let job_id = parse_id(context, job_id).ok()?;
    owned(caller, context.watches.latest(&job_id)?).ok()
}

/// Returns a job of the caller as it is now.
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

/// Parses the id of a job. One that is being deleted is not found.
fn parse_id(context: &Context, text: &str) -> Result<JobId, Problem> {
    let job_id: Option<JobId> = text.parse().ok();
    job_id
        .filter(|job_id| !context.views.is_deleted(job_id))
        .ok_or_else(|| Problem::not_found("job"))
}
