//! Progress of a job on standard error: on a terminal a line for the job and one for each output,
//! elsewhere a line for each change.

use std::{collections::BTreeMap, time::Duration};

use darkroom_client::types::{
    failure::FailureType,
    job_id::JobId,
    provider::PredictionStatus,
    resource::{Job, Media},
    status::{JobStatus, MediaStatus, Stage},
};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

use super::show::say;

/// Outputs that get a line of their own.
const MAX_LINES: usize = 12;

/// Progress display of one job.
pub(super) struct Live {
    lines: MultiProgress,
    head: ProgressBar,
    outputs: BTreeMap<u32, ProgressBar>,
    /// Last message printed. Used where lines cannot be redrawn.
    said: String,
}

impl Live {
    /// Draws a spinner at once, before the first state arrives.
    pub(super) fn begin() -> Self {
        let lines = MultiProgress::new();
        let head = lines
            .add(ProgressBar::new_spinner().with_style(style("{spinner} {elapsed:>4} {wide_msg}")));
        head.enable_steady_tick(Duration::from_millis(120));
        Self {
            lines,
            head,
            outputs: BTreeMap::new(),
            said: String::new(),
        }
    }

    /// Shows a state of the job.
    pub(super) fn show(&mut self, job: &Job) {
        let message = message(job);
        if self.lines.is_hidden() {
            if message != self.said {
                say!("{message}");
                self.said = message;
            }
            return;
        }
        self.head.set_message(message);
        for media in job.media.iter().take(MAX_LINES) {
            let bar = self.outputs.entry(media.index).or_insert_with(|| {
                let bar =
                    ProgressBar::new(1).with_style(style("  {prefix:>3} {bar:24} {wide_msg}"));
                self.lines
                    .add(bar)
                    .with_prefix((media.index + 1).to_string())
            });
            draw(bar, media);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.lines.clear();
    }
}

#[expect(clippy::expect_used, reason = "the templates are literals")]
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("a valid template")
        .progress_chars("━━─")
}

/// State of a job, on one line.
fn message(job: &Job) -> String {
    let counts = job.media_counts;
    let what = match job.stage {
        _ if job.in_doubt_since.is_some() => {
            "in doubt: looking for the prediction, as the answer was lost".to_owned()
        }
        Some(Stage::Persisting) => {
            format!("storing, {} of {} stored", counts.completed, counts.total)
        }
        Some(Stage::Queued) => "queued".to_owned(),
        Some(Stage::Generating) => "generating".to_owned(),
        Some(Stage::Reconciling) => "looking for the submission".to_owned(),
        Some(Stage::Finalizing) => "finishing".to_owned(),
        None => job.status.to_string(),
    };
    let stale = if job.stale && !job.status.is_terminal() {
        " (no worker answers; the job is safe and waits)"
    } else {
        ""
    };
    let prompt = job.prompt.as_ref().map(|prompt| prompt.excerpt(50));
    format!(
        "{what}{stale}  {} {}",
        job.model,
        prompt.unwrap_or_default()
    )
}

fn draw(bar: &ProgressBar, media: &Media) {
    let (done, total) = (media.bytes_done.unwrap_or(0), media.bytes_total);
    let (done, total) = match media.status {
        MediaStatus::Completed => (1, 1),
        MediaStatus::Pending => (done, total.unwrap_or(0).max(done).max(1)),
        MediaStatus::Failed | MediaStatus::Canceled => (0, 1),
    };
    bar.set_length(total);
    bar.set_position(done);
    bar.set_message(match media.status {
        MediaStatus::Pending if media.bytes_done.is_none() => "waits".to_owned(),
        MediaStatus::Pending => format!("{} of {}", HumanBytes(done), HumanBytes(total)),
        MediaStatus::Completed => {
            let kind = media.content_type.as_deref().unwrap_or_default();
            format!(
                "stored  {kind} {}",
                HumanBytes(media.size.unwrap_or_default())
            )
        }
        MediaStatus::Failed => format!(
            "failed  {}",
            media.error_message.as_deref().unwrap_or_default()
        ),
        MediaStatus::Canceled => "canceled".to_owned(),
    });
}

/// Prints how a job ended: a line for the job, one for each failed output, and the command that
/// retries.
pub(super) fn conclude(job: &Job) {
    let counts = job.media_counts;
    // Of a retried job, the time of its latest run.
    let retried_at = job.started_at.filter(|_| job.retry_count > 0);
    let took = job.completed_at.map_or(String::new(), |end| {
        let began_at = retried_at.unwrap_or(job.created_at);
        let took = end.duration_since(began_at).as_secs_f64();
        format!(" in {took:.1} s")
    });
    let stored = match counts.total {
        0 => String::new(),
        total => format!(": {} of {total} stored", counts.completed),
    };
    say!("job {} {}{took}{stored}", job.job_id, job.status);
    for media in &job.media {
        if let (MediaStatus::Failed, Some(why)) = (media.status, &media.error_message) {
            say!("  output {}: {why}", media.index + 1);
        }
    }
    if let (JobStatus::Failed | JobStatus::Canceled, Some(why)) = (job.status, &job.error_message) {
        say!("  {why}");
    }
    if let Some(retry) = useful_retry(job) {
        retry.suggest(&job.job_id);
    }
}

/// A retry of a job, by what it is for.
pub(super) enum Retry {
    Submit,
    Fetch,
    Regenerate,
}

impl Retry {
    /// Prints what the retry is for, and its command.
    pub(super) fn suggest(&self, job_id: &JobId) {
        let (purpose, option) = match self {
            Self::Submit => ("to submit it again", ""),
            Self::Fetch => ("to fetch what is missing, at no cost", ""),
            Self::Regenerate => ("to generate it again, which costs again", " --regenerate"),
        };
        say!("  {purpose}: darkroom jobs retry {job_id}{option}");
    }
}

/// Returns the retry that may help an ended job, if one may.
fn useful_retry(job: &Job) -> Option<Retry> {
    use PredictionStatus::{Aborted, Canceled, Failed};
    if !matches!(job.status, JobStatus::Partial | JobStatus::Failed) {
        return None;
    }
    match &job.provider {
        None => {
            let may_succeed = job.error.as_ref().is_some_and(|error| error.retryable);
            may_succeed.then_some(Retry::Submit)
        }
        Some(provider)
            if job.media_counts.total == 0
                && matches!(provider.status, Some(Failed | Canceled | Aborted)) =>
        {
            Some(Retry::Regenerate)
        }
        Some(_) if are_gone(job) => Some(Retry::Regenerate),
        Some(_) => Some(Retry::Fetch),
    }
}

/// Returns true if no missing output can be fetched any more.
fn are_gone(job: &Job) -> bool {
    use FailureType::{OutputNotMade, SourceExpired, UnsupportedMedia};
    let errors = job.media.iter().filter_map(|media| media.error.as_ref());
    let gone = errors
        .filter(|error| matches!(error.kind, SourceExpired | OutputNotMade | UnsupportedMedia))
        .count();
    let missing = job.media_counts.total - job.media_counts.completed;
    gone > 0 && gone == missing
}
