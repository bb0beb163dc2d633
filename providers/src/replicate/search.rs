//! Search for a submission in doubt, whose answer is lost: a prediction's webhook URL identifies
//! its job and its submission. The search reads the part of the list that the submission can be in.
//! Concurrent searches share one scan.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use darkroom_workflows::job::{
    Doubt, JobId, Prediction, PredictionId, PredictionRef, PredictionStatus, ProviderName,
    ProviderState,
};
use jiff::{SignedDuration, Timestamp};
use moka::future::Cache;
use reqwest::Method;
use tokio::sync::oneshot;
use url::Url;

use super::{
    Replicate,
    wire::{Answer, Entry, List},
};
use crate::provider::{ProviderError, Search};

/// Limit of pages in one scan of the list: pages of 100.
const MAX_PAGES: usize = 500;

/// Capacity of the cache of webhook URLs, for predictions that had to be read for theirs.
const WEBHOOK_CACHE_CAPACITY: u64 = 20_000;

/// Longest gap between the time windows of searches that share a scan.
const MAX_GAP: SignedDuration = SignedDuration::from_mins(5);

/// Longest time window of a shared scan; a single search may have a longer one.
const MAX_SHARED_WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// Searches under way, and the webhook URLs that they have read.
pub(super) struct Searches {
    waiting: Mutex<Vec<Waiting>>,
    scan: tokio::sync::Mutex<()>,
    webhooks: Cache<PredictionId, Option<Arc<str>>>,
}

struct Waiting {
    window: (Timestamp, Timestamp),
    answer: oneshot::Sender<Found>,
}

/// Result of a scan, newest prediction first.
type Found = Result<Arc<[Listed]>, ProviderError>;

/// Prediction, with its webhook URL.
struct Listed {
    id: PredictionId,
    webhook: Option<Arc<str>>,
}

impl Searches {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            scan: tokio::sync::Mutex::default(),
            webhooks: Cache::builder()
                .max_capacity(WEBHOOK_CACHE_CAPACITY)
                .time_to_idle(Duration::from_hours(1))
                .build(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) async fn find(
    replicate: &Replicate,
    job_id: &JobId,
    doubt: &Doubt,
) -> Result<Search, ProviderError> {
    let listed = match scan(replicate, doubt.window()).await {
        Ok(listed) => listed,
        // Some services that are compatible with Replicate have no list.
        Err(ProviderError::NotFound) => return Ok(Search::CannotTell),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in listed.iter().rev() {
        let is_ours = entry
            .webhook
            .as_deref()
            .is_some_and(|webhook| is_of(webhook, job_id, doubt));
        if is_ours {
            let url = replicate.prediction_url(&entry.id, &[])?;
            found.push(match replicate.call::<Answer>(Method::GET, url).await {
                Ok(answer) => answer.into(),
                // The search has succeeded: the prediction exists, even if it cannot be read.
                Err(
                    ProviderError::NotFound
                    | ProviderError::Unreadable(_)
                    | ProviderError::TooLarge(_),
                ) => unread(&entry.id),
                Err(error) => return Err(error),
            });
        }
    }
    Ok(if found.is_empty() {
        Search::NotShown
    } else {
        Search::Found(found)
    })
}

/// Prediction of which nothing is known but that it exists.
fn unread(id: &PredictionId) -> Prediction {
    let prediction = PredictionRef::new(ProviderName::Replicate, id.clone());
    let state = ProviderState::new(prediction, PredictionStatus::Processing);
    Prediction::new(state, Vec::new(), false)
}

/// Returns true if a webhook URL belongs to the submission: `…/{job_id}/{submission_id}`, whatever
/// the api's public URL was.
fn is_of(webhook: &str, job_id: &JobId, doubt: &Doubt) -> bool {
    let Ok(url) = Url::parse(webhook) else {
        return false;
    };
    let segments: Vec<_> = url
        .path_segments()
        .map(|segments| segments.filter(|segment| !segment.is_empty()).collect())
        .unwrap_or_default();
    match segments.as_slice() {
        [.., job, submission] if *job == job_id.to_string() => submission
            .parse()
            .is_ok_and(|submission| doubt.is_of(&submission)),
        _ => false,
    }
}

/// Reads the part of the list in this time window, in one scan with concurrent searches.
async fn scan(replicate: &Replicate, window: (Timestamp, Timestamp)) -> Found {
    let (sender, mut receiver) = oneshot::channel();
    let searches = &replicate.searches;
    searches.waiting().push(Waiting {
        window,
        answer: sender,
    });
    let _turn = searches.scan.lock().await;
    // The search that held the lock before may have read this window as well.
    if let Ok(found) = receiver.try_recv() {
        return found;
    }
    let (window, near) = take_overlapping(&mut searches.waiting(), window);
    let found = read_list(replicate, window).await;
    for waiting in near {
        // Ignored: the search was dropped.
        let _ = waiting.answer.send(found.clone());
    }
    found
}

/// Removes the searches whose windows are near this one, and widens it to theirs.
fn take_overlapping(
    waiting: &mut Vec<Waiting>,
    (mut since, mut until): (Timestamp, Timestamp),
) -> ((Timestamp, Timestamp), Vec<Waiting>) {
    let mut near = Vec::new();
    loop {
        let next = waiting.iter().position(|waiting| {
            let (from, to) = waiting.window;
            let is_near =
                from.duration_since(until) <= MAX_GAP && since.duration_since(to) <= MAX_GAP;
            let is_within = since <= from && to <= until;
            let together = until.max(to).duration_since(since.min(from));
            is_within || is_near && together <= MAX_SHARED_WINDOW
        });
        let Some(next) = next else {
            return ((since, until), near);
        };
        let taken = waiting.swap_remove(next);
        since = since.min(taken.window.0);
        until = until.max(taken.window.1);
        near.push(taken);
    }
}

async fn read_list(replicate: &Replicate, (since, until): (Timestamp, Timestamp)) -> Found {
    let mut page = Some(format!(
        "predictions?created_after={since}&created_before={until}"
    ));
    let mut listed = Vec::new();
    for _ in 0..MAX_PAGES {
        let Some(path) = page else {
            return Ok(listed.into());
        };
        let list: List = replicate.call(Method::GET, replicate.url(&path)?).await?;
        for entry in list.results {
            let webhook = webhook(replicate, &entry).await?;
            listed.push(Listed {
                id: entry.id,
                webhook,
            });
        }
        page = list.next;
    }
    Err(ProviderError::Unavailable(
        "its list of predictions is too long to search".to_owned(),
    ))
}

/// Webhook URL of an entry. If the list omits it, the prediction itself is read; one that cannot be
/// read is skipped.
async fn webhook(replicate: &Replicate, entry: &Entry) -> Result<Option<Arc<str>>, ProviderError> {
    if let Some(webhook) = &entry.webhook {
        return Ok(Some(webhook.as_str().into()));
    }
    let known = &replicate.searches.webhooks;
    if let Some(webhook) = known.get(&entry.id).await {
        return Ok(webhook);
    }
    let url = replicate.prediction_url(&entry.id, &[])?;
    match replicate.call::<Answer>(Method::GET, url).await {
        Ok(answer) => {
            let webhook: Option<Arc<str>> = answer.webhook.map(Into::into);
            known.insert(entry.id.clone(), webhook.clone()).await;
            Ok(webhook)
        }
        Err(
            ProviderError::NotFound
            | ProviderError::Unreadable(_)
            | ProviderError::TooLarge(_)
            | ProviderError::Rejected(_),
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use darkroom_workflows::job::{DoubtCause, IfNotFound};

    use super::*;

    const JOB: &str = "01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1";

    fn doubt(submission_id: Option<&str>) -> Doubt {
        Doubt {
            submission_id: submission_id.map(|id| id.parse().unwrap()),
            since: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            clock_skew_ms: None,
            cause: DoubtCause::Unanswered,
            search_seconds: 900,
            if_not_found: IfNotFound::Fail,
        }
    }

    #[test]
    fn webhook_urls_match_their_submission() {
        let is_of = |webhook: &str, submission| {
            super::is_of(webhook, &JOB.parse().unwrap(), &doubt(submission))
        };
        let ours = format!("https://darkroom.example/v1/webhooks/replicate/{JOB}/abc");
        assert!(is_of(&ours, Some("abc")));
        assert!(is_of(
            &format!("https://elsewhere.example/x/{JOB}/abc/?y=1"),
            Some("abc")
        ));
        assert!(is_of(&ours, None), "any submission of the job");
        assert!(!is_of(&ours, Some("abd")));
        assert!(!is_of(
            "https://darkroom.example/v1/webhooks/replicate/other/abc",
            None
        ));
        assert!(!is_of("not an address", None));
    }

    #[test]
    fn overlapping_searches_share_a_scan() {
        let at = |minutes| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
        let waiting = |from, to| Waiting {
            window: (at(from), at(to)),
            answer: oneshot::channel().0,
        };
        let mut all = vec![
            waiting(0, 2),
            waiting(60, 62),
            waiting(6, 8),
            waiting(12, 14),
        ];
        let (window, near) = take_overlapping(&mut all, (at(0), at(2)));
        assert_eq!((window, near.len(), all.len()), ((at(0), at(14)), 3, 1));
    }
}
