//! Live workers by their heartbeats, exact to a few seconds. A server that does not keep worker
//! heartbeats knows only the pollers of the last minutes, which [`crate::task_queues`] describes.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use temporalio_client::{
    Client, NamespacedClient,
    grpc::WorkflowService,
    tonic::{Code, Status},
};
use temporalio_common::protos::temporal::api::{
    enums::v1::WorkerStatus, worker::v1::WorkerHeartbeat, workflowservice::v1::ListWorkersRequest,
};

use crate::call::with_timeout;

/// Timeout of one call.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Workers of a page, and largest number of pages.
const PAGE: i32 = 1000;
const MAX_PAGES: usize = 10;

/// Number of heartbeat intervals after which a silent worker counts as dead, and the timeout for a
/// worker that has sent one heartbeat only: its interval is not known before the second.
const MISSED_HEARTBEATS: u32 = 3;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(35);

/// Counts the live workers of each task queue; `None` if the server does not keep heartbeats.
///
/// # Errors
/// If the call fails.
pub async fn living(client: &Client) -> Result<Option<HashMap<String, u32>>, Status> {
    let mut living = HashMap::new();
    let mut is_any_known = false;
    let mut page_token = Vec::new();
    for _ in 0..MAX_PAGES {
        let request = ListWorkersRequest {
            namespace: client.namespace(),
            page_size: PAGE,
            next_page_token: page_token,
            ..ListWorkersRequest::default()
        };
        let request = with_timeout(request, TIMEOUT);
        let answer = WorkflowService::list_workers(&mut client.clone(), request).await;
        let answer = match answer {
            Ok(answer) => answer.into_inner(),
            Err(status)
                if matches!(status.code(), Code::Unimplemented | Code::PermissionDenied) =>
            {
                return Ok(None);
            }
            Err(status) => return Err(status),
        };
        #[expect(
            deprecated,
            reason = "what replaces it does not tell the time of a heartbeat"
        )]
        let workers = answer.workers_info.into_iter();
        let now = SystemTime::now();
        for heartbeat in workers.filter_map(|worker| worker.worker_heartbeat) {
            is_any_known = true;
            if is_living(&heartbeat, now) {
                *living.entry(heartbeat.task_queue).or_default() += 1;
            }
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    // A server that lists no worker at all may not keep heartbeats: callers fall back to pollers.
    Ok(is_any_known.then_some(living))
}

fn is_living(heartbeat: &WorkerHeartbeat, now: SystemTime) -> bool {
    let is_serving = !matches!(
        heartbeat.status(),
        WorkerStatus::ShuttingDown | WorkerStatus::Shutdown
    );
    let interval = heartbeat.elapsed_since_last_heartbeat;
    let timeout = interval
        .and_then(|interval| Duration::try_from(interval).ok())
        .map_or(DEFAULT_TIMEOUT, |interval| interval * MISSED_HEARTBEATS);
    let sent = heartbeat.heartbeat_time;
    let sent = sent.and_then(|sent| SystemTime::try_from(sent).ok());
    // With clock skew, a heartbeat may lie in the future.
    is_serving && sent.is_some_and(|sent| now.duration_since(sent).unwrap_or_default() < timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_living_until_its_heartbeats_stop() {
        let now = SystemTime::now();
        let heartbeat = |ago: u64, interval: Option<u64>, status: WorkerStatus| WorkerHeartbeat {
            status: status.into(),
            heartbeat_time: Some((now - Duration::from_secs(ago)).into()),
            elapsed_since_last_heartbeat: interval
                .map(|seconds| Duration::from_secs(seconds).try_into().unwrap()),
            ..WorkerHeartbeat::default()
        };
        for (heartbeat, lives) in [
            (heartbeat(1, Some(2), WorkerStatus::Running), true),
            (heartbeat(7, Some(2), WorkerStatus::Running), false),
            (heartbeat(25, Some(10), WorkerStatus::Running), true),
            (heartbeat(25, None, WorkerStatus::Running), true),
            (heartbeat(70, None, WorkerStatus::Running), false),
            (heartbeat(1, Some(2), WorkerStatus::ShuttingDown), false),
        ] {
            assert_eq!(is_living(&heartbeat, now), lives, "{heartbeat:?}");
        }
    }
}
