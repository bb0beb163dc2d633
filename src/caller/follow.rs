//! A job followed to its end, and what is done with what came of it: the second half of `run`, and
//! all of `jobs watch`.

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

/// Retry budget while a job is followed, which goes on without the api.
const RETRY_BUDGET: Duration = Duration::from_mins(5);

/// How a job is followed, and what becomes of its outputs.
#[derive(clap::Args)]
pub(super) struct Following {
    /// Return as soon as it is accepted, and print its id.
    #[arg(long, conflicts_with_all = ["timeout", "save", "show"])]
    pub(super) detach: bool,
    /// How long to wait for its end, such as 10m: it goes on after that.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) timeout: Option<Duration>,
    #[command(flatten)]
    pub(super) outputs: Outputs,
}

/// What becomes of outputs.
#[derive(clap::Args)]
pub(super) struct Outputs {
    /// Save the outputs, into a directory or by a template such as '{job}/{index}.{ext}', and print
    /// their paths.
    #[arg(long, value_name = "DIR | TEMPLATE")]
    pub(super) save: Option<Destination>,
    /// Show pictures in the terminal.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub(super) show: picture::When,
    /// As what to print the job.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub(super) output: Format,
}

/// A time as people write it: `90s`, `10m`, `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let rule = "must be a time such as 90s, 10m or 1h 30m";
    let duration: SignedDuration = text.parse().map_err(|_| rule)?;
    let duration: Duration = duration.try_into().map_err(|_| rule)?;
    if duration.is_zero() {
        return Err(rule.to_owned());
    }
    Ok(duration)
}

/// Follows a job to its end, or until the caller has waited long enough, and deals with what came
/// of it.
pub(super) async fn follow(client: &Client, job: Job, following: &Following) -> Result<Exit> {
    let format = following.outputs.output;
    if following.detach {
        say!("it goes on by itself: darkroom jobs watch {}", job.job_id);
        match format {
            Format::Text => show::line(&job.job_id)?,
            Format::Json | Format::Jsonl => show::document(&job, format)?,
        }
        return Ok(Exit::Success);
    }
    let job_id = job.job_id.clone();
    let timeout = following.timeout.unwrap_or(Duration::MAX);
    let ended = tokio::select! {
        ended = tokio::time::timeout(timeout, end(client, job, format)) => ended,
        _ = tokio::signal::ctrl_c() => {
            say!("\nthe job goes on: darkroom jobs watch {job_id}\nto stop it: darkroom jobs cancel {job_id}");
            return Ok(Exit::Interrupted);
        }
    };
    if let Ok(job) = ended {
        return conclude(client, &job?, &following.outputs).await;
    }
    say!("the job goes on: darkroom jobs watch {job_id}");
    if format == Format::Json {
        show::document(&client.get_job(&job_id).await?, format)?;
    }
    Ok(Exit::StillRunning)
}

/// The job as it ended. Each of its states is shown, and printed where that is the format.
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

/// Says how a job ended, saves or names what is stored, and shows it.
pub(super) async fn conclude(client: &Client, job: &Job, outputs: &Outputs) -> Result<Exit> {
    live::conclude(job);
    let is_text = outputs.output == Format::Text;
    if is_text {
        picture::show(client, job, outputs.show).await;
    } else {
        show::document(job, outputs.output)?;
    }
    let told = |path: PathBuf| {
        if is_text {
            return show::line(path.display());
        }
        say!("saved {}", path.display());
        Ok(())
    };
    match &outputs.save {
        Some(destination) => destination.save(client, job, told).await?,
        None if is_text => name(client, job).await?,
        None => {}
    }
    Ok(Exit::of_job(job))
}

/// Prints where the outputs are: for a person by an address that lasts, for a program by one that
/// needs no key.
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
