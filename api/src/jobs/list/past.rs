//! Jobs beyond Temporal's retention, from the index in the object store: by the day on which they
//! were accepted, the latest day first.

use darkroom_types::request::{Metadata, ModelInput};
use darkroom_workflows::job::{IndexEntry, JobId, JobState, ObjectKey};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::{
    context::Context,
    jobs::load,
    problem::{Kind, Problem},
    store,
    visibility::Filter,
};

/// Limit of index entries, and so of manifests, that are read for one page: it may be short
/// although others follow.
const MAX_READS: usize = 100;

/// Longest time from the end of a job to the close of its run.
const CLOSING: SignedDuration = SignedDuration::from_mins(5);

/// Limit of manifests that are read at a time.
pub(super) const READS_AT_ONCE: usize = 16;

/// Position at which a list resumes among these jobs.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub(super) struct IndexCursor {
    /// Jobs that ended later are within Temporal's retention.
    ended_before: Timestamp,
    /// Last job within it, which may have ended at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_retained: Option<JobId>,
    day: Date,
    /// Last name listed in the folder of that day: usually the id of a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

impl IndexCursor {
    /// Creates the cursor of the jobs that ended before a time, given the last job that Temporal
    /// knows.
    pub(super) fn before(ended_before: Timestamp, last_retained: Option<JobId>) -> Self {
        Self {
            ended_before,
            last_retained,
            day: day_of(ended_before),
            after: None,
        }
    }
}

/// Returns jobs, up to the limit, and the cursor of the next page.
///
/// # Errors
/// If the store or Temporal does not answer.
pub(super) async fn list(
    context: &Context,
    filter: &Filter,
    mut cursor: IndexCursor,
    limit: usize,
) -> Result<(Vec<JobState>, Option<IndexCursor>), Problem> {
    let (mut jobs, mut listed) = (Vec::new(), 0);
    for day in days(context, filter, cursor.day).await? {
        if day != cursor.day {
            (cursor.day, cursor.after) = (day, None);
        }
        loop {
            let room = (limit - jobs.len()).min(MAX_READS - listed);
            if room == 0 {
                return Ok((jobs, Some(cursor)));
            }
            let entries = indexed(context, filter, &cursor, room).await?;
            listed += entries.listed;
            cursor.after = entries.last.or(cursor.after);
            let manifests: Vec<_> = entries
                .ids
                .iter()
                .map(|job_id| manifest(context, job_id).boxed())
                .collect();
            let manifests = stream::iter(manifests).buffered(READS_AT_ONCE);
            let manifests = manifests.try_collect::<Vec<_>>();
            let matching = |job: &JobState| {
                let is_past = job
                    .completed_at
                    .is_some_and(|end| end < cursor.ended_before);
                let is_retained = Some(&job.job_id) == cursor.last_retained.as_ref();
                is_past && !is_retained && matches(filter, job)
            };
            let found = manifests.await?.into_iter().flatten().filter(matching);
            jobs.extend(forgotten(context, &cursor, found.collect()).await?);
            if !entries.has_more {
                break;
            }
        }
    }
    Ok((jobs, None))
}

/// Returns those of some jobs that Temporal does not know. A run closes a moment after its job has
/// ended, so Temporal is asked about jobs that ended near the boundary.
async fn forgotten(
    context: &Context,
    cursor: &IndexCursor,
    mut jobs: Vec<JobState>,
) -> Result<Vec<JobState>, Problem> {
    let is_near = |job: &&JobState| {
        let since = cursor.ended_before - CLOSING;
        job.completed_at.is_some_and(|end| end >= since)
    };
    let near = jobs.iter().filter(is_near);
    let near: Vec<_> = near.map(|job| job.job_id).collect();
    if !near.is_empty() {
        let known = context.list_pages.latest_runs(context, &near).await?;
        jobs.retain(|job| !known.contains_key(&job.job_id));
    }
    Ok(jobs)
}

/// Returns the days on which jobs were accepted, from this one back.
async fn days(context: &Context, filter: &Filter, last: Date) -> Result<Vec<Date>, Problem> {
    let prefix = IndexEntry::prefix(filter.tenant.as_ref());
    let mut folders = Vec::<String>::new();
    loop {
        let after = folders.last().map(String::as_str);
        let (page, has_more) =
            store::answer(&prefix, context.storage.list_folders(&prefix, after)).await?;
        let is_over = page.is_empty() || !has_more;
        folders.extend(page);
        if is_over {
            break;
        }
    }
    let first = filter.created_after.map(day_of);
    let last = filter
        .created_before
        .map_or(last, |time| last.min(day_of(time)));
    let days = folders.iter().rev().filter_map(|day| day.parse().ok());
    Ok(days
        .filter(|day| *day <= last && first.is_none_or(|first| *day >= first))
        .collect())
}

/// Entries of a day in the index.
struct Entries {
    ids: Vec<JobId>,
    /// Number of objects that were listed: these, and any that are no entries.
    listed: usize,
    /// Last name among them, or among other objects in the folder.
    last: Option<String>,
    has_more: bool,
}

/// Returns the next entries of a day.
async fn indexed(
    context: &Context,
    filter: &Filter,
    cursor: &IndexCursor,
    limit: usize,
) -> Result<Entries, Problem> {
    let tenant = filter.tenant.as_ref();
    let prefix = IndexEntry::prefix_of_day(tenant, cursor.day);
    let after = cursor.after.as_ref();
    let after = after.map(|after| ObjectKey::new(format!("{prefix}{after}")));
    let limit = u16::try_from(limit).unwrap_or(u16::MAX);
    let listed = store::answer(
        &prefix,
        context.storage.list(&prefix, after.as_ref(), limit),
    )
    .await?;
    let mut keys = listed.objects.iter().map(|object| object.key.as_str());
    // A store's console leaves an object there that stands for the folder.
    let entries = keys.clone().filter_map(|key| key.parse().ok());
    Ok(Entries {
        ids: entries.map(|entry: IndexEntry| entry.job_id).collect(),
        listed: keys.len(),
        last: keys
            .next_back()
            .and_then(|key| Some(key.strip_prefix(&prefix)?.to_owned())),
        has_more: listed.has_more,
    })
}

/// Returns what a list needs of the manifest of a job, unless it is gone.
async fn manifest(context: &Context, job_id: &JobId) -> Result<Option<JobState>, Problem> {
    match load::manifest(context, job_id).await {
        Ok(mut job) => {
            // A list does not show these, and a page of a hundred jobs would hold 25 MB of them.
            job.request.input = ModelInput::default();
            job.request.metadata = Metadata::default();
            if let Some(provider) = &mut job.provider {
                (provider.output, provider.metrics) = (None, Map::new());
            }
            Ok(Some(job))
        }
        Err(problem) if problem.kind() == Kind::NotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

fn matches(filter: &Filter, job: &JobState) -> bool {
    let Filter {
        tenant,
        status,
        model,
        created_after,
        created_before,
    } = filter;
    let is = |wanted: &Option<String>, found: String| {
        wanted.as_ref().is_none_or(|wanted| *wanted == found)
    };
    *tenant == job.tenant
        && is(status, job.status.to_string())
        && is(model, job.request.model.to_string())
        && created_after.is_none_or(|time| job.created_at >= time)
        && created_before.is_none_or(|time| job.created_at < time)
}

fn day_of(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}
