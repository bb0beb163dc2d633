//! Common parts of responses about a job: the status, `Location`, the `ETag` and conditional
//! requests, `Retry-After`.

use std::time::SystemTime;

use darkroom_workflows::job::{JobStatus, Stage, timestamp};
use jiff::Timestamp;
use poem::{
    Response, ResponseBuilder,
    http::{StatusCode, header},
    web::headers::IfNoneMatch,
};

use super::view::View;
use crate::{context::Context, prefer::Wait};

/// Returns true if `If-None-Match` matches: <https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2>
pub(super) fn is_known(if_none_match: Option<&IfNoneMatch>, view: &View) -> bool {
    let (Some(known), Ok(etag)) = (if_none_match, view.etag.parse()) else {
        return false;
    };
    !known.precondition_passes(&etag)
}

/// Begins a response about a job: content type, `ETag`, and `Retry-After` if it has not ended.
pub(super) fn describe(view: &View, status: StatusCode) -> ResponseBuilder {
    let response = Response::builder()
        .status(status)
        .content_type("application/json")
        .header(header::ETAG, &view.etag);
    match retry_after_seconds(view, timestamp(SystemTime::now())) {
        Some(seconds) => response.header(header::RETRY_AFTER, seconds),
        None => response,
    }
}

/// Begins a response to a request that has started a job: with its `Location`, and `202` while it
/// is under way or `200` once it has ended.
pub(super) fn started(context: &Context, view: &View) -> ResponseBuilder {
    let status = if view.has_ended() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let location = context.job_path(&view.state.job_id);
    describe(view, status).header(header::LOCATION, location)
}

pub(super) fn applied(response: ResponseBuilder, wait: Option<Wait>) -> ResponseBuilder {
    match wait {
        Some(wait) => response.header("Preference-Applied", wait.applied()),
        None => response,
    }
}

/// Returns the seconds after which another poll of a job is worthwhile. Providers take a second or
/// many minutes, and a job that has taken long is likely to take a while longer.
fn retry_after_seconds(view: &View, now: Timestamp) -> Option<i64> {
    match (view.state.status, view.state.stage) {
        (JobStatus::Pending | JobStatus::Processing, Some(Stage::Generating)) => {
            let age = now
                .duration_since(view.state.started_at.unwrap_or(view.state.created_at))
                .as_secs();
            Some((age / 10).clamp(1, 15))
        }
        (JobStatus::Pending | JobStatus::Processing, _) => Some(1),
        (
            JobStatus::Completed | JobStatus::Partial | JobStatus::Failed | JobStatus::Canceled,
            _,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use darkroom_workflows::job::JobState;
    use jiff::SignedDuration;
    use poem::{http::HeaderMap, web::headers::HeaderMapExt};
    use serde_json::json;

    use super::*;

    fn view(status: JobStatus, stage: Option<Stage>) -> View {
        let id = "01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1".parse().unwrap();
        let request =
            serde_json::from_value(json!({"model": "acme/photo", "prompt": "a fox"})).unwrap();
        let accepted = JobState::new(id, None, request, Timestamp::UNIX_EPOCH);
        let state = JobState {
            status,
            stage,
            ..accepted
        };
        View {
            state,
            progress: Vec::new(),
            body: bytes::Bytes::new(),
            etag: "\"a\"".to_owned(),
            read_at: std::time::Instant::now(),
            recorded: None,
        }
    }

    #[test]
    fn retry_after_grows_with_the_age_of_the_job() {
        let after = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        let generating = view(JobStatus::Processing, Some(Stage::Generating));
        assert_eq!(retry_after_seconds(&generating, after(2)), Some(1));
        assert_eq!(retry_after_seconds(&generating, after(60)), Some(6));
        assert_eq!(retry_after_seconds(&generating, after(3600)), Some(15));
        assert_eq!(
            retry_after_seconds(
                &view(JobStatus::Processing, Some(Stage::Persisting)),
                after(3600)
            ),
            Some(1)
        );
        assert_eq!(
            retry_after_seconds(&view(JobStatus::Completed, None), after(3600)),
            None
        );
    }

    #[test]
    fn etags_are_compared_weakly() {
        let view = view(JobStatus::Completed, None);
        let is_known = |value: &str| {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, value.parse().unwrap())]);
            is_known(headers.typed_get().as_ref(), &view)
        };
        for known in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(is_known(known), "{known}");
        }
        for other in ["", "a", "\"b\"", "\"b\", \"c\""] {
            assert!(!is_known(other), "{other}");
        }
    }
}
