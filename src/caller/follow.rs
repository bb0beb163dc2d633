//! Following a job to its end, and saving, printing or showing its outputs: the second half of
//! `run`, and all of `jobs watch`.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use darkroom_client::{
    Client,
    types::{resource::Job, status::MediaStatus},
};
use futures::TryStreamExt;
use jiff::SignedDuration;

use super::{
    Exit,
    files::Destination,
    live::{self, Live},
    picture,
    show::{self, Format, say},
};

/// Retry budget while a job is followed: the job runs on while the api is unreachable.
const RETRY_BUDGET: Duration = Duration::from_mins(5);

/// Options of following a job.
#[derive(clap::Args)]
pub(super) struct Following {
    /// Return as soon as the job is accepted, and print its id.
    #[arg(long, conflicts_with_all = ["timeout", "save", "show"])]
    pub(super) detach: bool,
    /// Stop waiting after this time, such as 10m. The job continues.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) timeout: Option<Duration>,
    #[command(flatten)]
    pub(super) outputs: Outputs,
}

/// Options for the outputs of a job.
#[derive(clap::Args)]
pub(super) struct Outputs {
    /// Save the outputs into a directory, or by a template such as '{job}/{index}.{ext}', and print
    /// their paths.
    #[arg(long, value_name = "DIR | TEMPLATE")]
    pub(super) save: Option<Destination>,
    /// Show pictures in the terminal.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub(super) show: picture::When,
    /// Output format.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub(super) output: Format,
}

/// Parses a duration such as `90s`, `10m` or `1h 30m`, of a hundred years at most: clocks reckon
/// with it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_hours(100 * 365 * 24);
    let rule = "must be a time such as 90s, 10m or 1h 30m, of a hundred years at most";
    let duration: SignedDuration = text.parse().map_err(|_| rule)?;
    let duration: Duration = duration.try_into().map_err(|_| rule)?;
    if duration.is_zero() || duration > MAX {
        return Err(rule.to_owned());
    }
    Ok(duration)
}

/// Follows a job until it ends, `--timeout` passes or Ctrl-C is pressed, and then saves, prints or
/// shows its outputs.
pub(super) async fn follow(client: &Client, job: Job, following: &Following) -> Result<Exit> {
    let format = following.outputs.output;
    if following.detach {
        say!("the job continues: darkroom jobs watch {}", job.job_id);
        match format {
            Format::Text => show::line(job.job_id)?,
            Format::Json | Format::Jsonl => show::document(&job, format)?,
        }
        return Ok(Exit::Success);
    }
    let job_id = job.job_id;
    let timeout = following.timeout.unwrap_or(Duration::MAX);
    let ended = tokio::select! {
        ended = tokio::time::timeout(timeout, end(client, job, format)) => ended,
        _ = tokio::signal::ctrl_c() => {
            say!("\nthe job is still running: darkroom jobs watch {job_id}\nto stop it: darkroom jobs cancel {job_id}");
            return Ok(Exit::Interrupted);
        }
    };
    if let Ok(job) = ended {
        let job = job?;
        // Once Ctrl-C was awaited, it no longer ends the process by itself.
        return tokio::select! {
            concluded = conclude(client, &job, &following.outputs) => concluded,
            _ = tokio::signal::ctrl_c() => {
                if following.outputs.save.is_some() {
                    say!("\nnot all outputs were saved: darkroom jobs save {job_id}");
                }
                Ok(Exit::Interrupted)
            }
        };
    }
    say!("the job is still running: darkroom jobs watch {job_id}");
    if format == Format::Json {
        show::document(&client.get_job(&job_id).await?, format)?;
    }
    Ok(Exit::StillRunning)
}

/// Waits for the job to end and returns it. Shows each state, and prints it with `jsonl`.
async fn end(client: &Client, mut job: Job, format: Format) -> Result<Job> {
    let mut live = Live::begin();
    live.show(&job);
    if job.status.is_terminal() {
        return Ok(job);
    }
    let client = client.clone().with_retry_budget(RETRY_BUDGET);
    let mut states = client.follow(&job.job_id);
    while let Some(state) = states.try_next().await? {
        live.show(&state);
        if format == Format::Jsonl && !state.status.is_terminal() {
            show::document(&state, format)?;
        }
        job = state;
    }
    Ok(job)
}

/// Prints how a job ended, saves its outputs or prints their URLs, and shows pictures.
pub(super) async fn conclude(client: &Client, job: &Job, outputs: &Outputs) -> Result<Exit> {
    live::conclude(job);
    let is_text = outputs.output == Format::Text;
    if is_text {
        picture::show(client, job, outputs.show).await;
    } else {
        show::document(job, outputs.output)?;
    }
    let saved = |path: PathBuf| {
        if is_text {
            return show::line(path.display());
        }
        say!("saved {}", path.display());
        Ok(())
    };
    match &outputs.save {
        Some(destination) => destination.save(client, job, saved).await?,
        None if is_text => name(client, job).await?,
        None => {}
    }
    Ok(Exit::of_job(job))
}

/// Prints the URLs of the outputs: to a terminal the permanent ones, which need the API key; to a
/// pipe the presigned ones, which need none.
async fn name(client: &Client, job: &Job) -> Result<()> {
    let is_person = console::Term::stdout().is_term();
    for media in client.all_media(job).await? {
        if media.status != MediaStatus::Completed {
            continue;
        }
        match (&media.media_url, &media.presigned_media_url) {
            (_, Some(url)) if !is_person => show::line(url)?,
            (Some(url), _) => show::line(url)?,
            (None, _) => {}
        }
    }
    Ok(())
}
