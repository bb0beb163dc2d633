//! `darkroom jobs`: what can be done with the jobs that there are.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Subcommand;
use darkroom_client::{
    Client,
    events::What,
    types::{
        job_id::JobId,
        problem::Kind,
        provider::CancelOutcome,
        request::{Expansion, ListJobs, ListedStatus, Model, RetryRequest},
        resource::{Job, JobSummary},
        status::JobStatus,
    },
};
use futures::TryStreamExt;
use jiff::Timestamp;
use serde_json::json;

use super::{
    Exit,
    connection::Connection,
    files::Destination,
    follow::{self, Following, Outputs, duration},
    input::parsed,
    live, picture,
    show::{self, Format, say},
};

/// How many jobs are listed with their prompts at a time.
const PAGE: u64 = 50;

/// How long a job that is to stop is waited for.
const CANCEL_PATIENCE: Duration = Duration::from_mins(1);

/// Which job, and where.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Command {
    /// List jobs: the unfinished ones first, then those that ended last.
    List(List),
    /// Print a job.
    Get {
        /// Its id.
        job_id: JobId,
        /// As what to print it.
        #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
        output: Format,
    },
    /// Follow a job to its end; without an id, all jobs until Ctrl-C.
    Watch {
        /// Its id.
        job_id: Option<JobId>,
        #[command(flatten)]
        following: Following,
    },
    /// Stop a job, and say what came of it. What is stored by then stays.
    Cancel {
        /// Its id.
        job_id: JobId,
    },
    /// Take a job up again that is partial or failed. It costs nothing: what is missing is fetched, or looked for.
    Retry {
        /// Its id.
        job_id: JobId,
        /// Have the provider make the outputs again, which costs again.
        #[arg(long)]
        regenerate: bool,
        #[command(flatten)]
        following: Following,
    },
    /// Save what is stored of a job.
    Save {
        /// Its id.
        job_id: JobId,
        /// A directory, or a template such as '{job}/{index}.{ext}'.
        #[arg(default_value = ".", value_name = "DIR | TEMPLATE")]
        to: Destination,
    },
    /// Show a job in the browser.
    Open {
        /// Its id.
        job_id: JobId,
    },
    /// Delete jobs and all that they have stored, for good.
    Delete {
        /// Their ids.
        #[arg(required = true)]
        job_ids: Vec<JobId>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Print what was told of a job's end, attempt by attempt.
    Webhooks {
        /// Its id.
        job_id: JobId,
        /// Tell it once more.
        #[arg(long)]
        again: bool,
    },
}

#[derive(clap::Args)]
struct List {
    /// Only jobs that stand so: processing, completed, partial, failed or canceled.
    #[arg(long, value_parser = parsed::<ListedStatus>)]
    status: Option<ListedStatus>,
    /// Only jobs of this model.
    #[arg(long)]
    model: Option<Model>,
    /// Only jobs of so long ago at most, such as 24h.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<Duration>,
    /// How many at most.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// As what to print them.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Format,
}

/// Does what is asked for.
pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let client = &arguments.connection.client()?;
    match arguments.command {
        Command::List(arguments) => list(client, arguments).await,
        Command::Get { job_id, output } => {
            let job = client.get_job(&job_id).await?;
            match output {
                Format::Text => describe(&job)?,
                Format::Json | Format::Jsonl => show::document(&job, output)?,
            }
            Ok(Exit::Success)
        }
        Command::Watch { job_id, following } => match job_id {
            Some(job_id) => {
                follow::follow(client, client.get_job(&job_id).await?, &following).await
            }
            None => watch_all(client, following.outputs.output).await,
        },
        Command::Cancel { job_id } => cancel(client, &job_id).await,
        Command::Retry {
            job_id,
            regenerate,
            following,
        } => {
            let job = client
                .retry_job(&job_id, RetryRequest { regenerate })
                .await?;
            say!("job {} is taken up again", job.job_id);
            follow::follow(client, job, &following).await
        }
        Command::Save { job_id, to } => {
            let outputs = Outputs {
                save: Some(to),
                show: picture::When::Never,
                output: Format::Text,
            };
            let job = client.get_job(&job_id).await?;
            follow::conclude(client, &job, &outputs).await
        }
        Command::Open { job_id } => open(client, &job_id),
        Command::Delete { job_ids, yes } => delete(client, &job_ids, yes).await,
        Command::Webhooks { job_id, again } => {
            if again {
                client.redeliver_webhook(&job_id).await?;
            }
            show::document(&client.list_webhooks(&job_id).await?, Format::Json)?;
            Ok(Exit::Success)
        }
    }
}

async fn list(client: &Client, arguments: List) -> Result<Exit> {
    let List {
        status,
        model,
        since,
        limit,
        output,
    } = arguments;
    let mut list = ListJobs {
        status,
        model,
        created_after: since.map(|since| Timestamp::now() - since),
        expand: Some(Expansion::Media),
        ..ListJobs::default()
    };
    let mut jobs: Vec<JobSummary> = Vec::new();
    loop {
        let missing = (limit - jobs.len()) as u64;
        list.limit = Some(missing.clamp(1, PAGE).try_into()?);
        let page = client.list_jobs(&list).await?;
        jobs.extend(page.jobs);
        jobs.truncate(limit);
        list.cursor = page.next_cursor;
        if list.cursor.is_none() || jobs.len() == limit {
            break;
        }
    }
    match output {
        Format::Json => show::document(&json!({"jobs": jobs, "next_cursor": list.cursor}), output)?,
        Format::Jsonl => {
            for job in &jobs {
                show::document(job, output)?;
            }
        }
        Format::Text => {
            let titles = ["JOB", "STATUS", "CREATED", "STORED", "MODEL", "PROMPT"];
            show::table(&titles, &jobs.iter().map(row).collect::<Vec<_>>())?;
        }
    }
    Ok(Exit::Success)
}

fn row(job: &JobSummary) -> Vec<String> {
    let media = job.media.as_deref().unwrap_or_default();
    let stored = media.iter().filter(|media| media.sha256.is_some()).count();
    vec![
        job.job_id.to_string(),
        job.status.to_string(),
        format!("{:.0}", job.created_at),
        format!("{stored}/{}", media.len()),
        job.model.to_string(),
        job.prompt
            .as_ref()
            .map(|prompt| prompt.excerpt(60))
            .unwrap_or_default(),
    ]
}

/// A job in lines, for a person.
fn describe(job: &Job) -> Result<()> {
    let mut rows = vec![
        ("job", job.job_id.to_string()),
        ("status", job.status.to_string()),
        ("model", job.model.to_string()),
    ];
    let mut known = |name, value: Option<String>| rows.extend(value.map(|value| (name, value)));
    known(
        "prompt",
        job.prompt.as_ref().map(|prompt| prompt.as_str().to_owned()),
    );
    known("created", Some(job.created_at.to_string()));
    known("ended", job.completed_at.map(|time| time.to_string()));
    known("deleted at", job.expires_at.map(|time| time.to_string()));
    known(
        "in doubt since",
        job.in_doubt_since.map(|time| time.to_string()),
    );
    known("why", job.error_message.clone());
    if let Some(provider) = &job.provider {
        known(
            "prediction",
            provider.prediction_id.as_ref().map(ToString::to_string),
        );
        known("provider says", provider.error.clone());
    }
    known("history", job.links.temporal.clone());
    for media in &job.media {
        let name = format!("output {}", media.index);
        let what = match (&media.media_url, &media.error_message) {
            (Some(url), _) => url.clone(),
            (None, Some(why)) => format!("failed: {why}"),
            (None, None) => "not there yet".to_owned(),
        };
        rows.push(("", format!("{name}  {what}")));
    }
    for (name, value) in rows {
        show::line(format_args!("{name:14} {value}"))?;
    }
    Ok(())
}

/// Prints each change of any job, until Ctrl-C.
async fn watch_all(client: &Client, format: Format) -> Result<Exit> {
    let mut changes = client.follow_all(None);
    let print = async {
        while let Some(change) = changes.try_next().await? {
            match (change.what, format) {
                (What::Job(job), Format::Text) => {
                    let at = change.position.strftime("%H:%M:%S");
                    let counts = job.media_counts;
                    show::line(format_args!(
                        "{at}  {}  {:10}  {}/{}  {}",
                        job.job_id, job.status, counts.completed, counts.total, job.model
                    ))?;
                }
                (What::Job(job), Format::Json | Format::Jsonl) => {
                    show::document(&job, Format::Jsonl)?;
                }
                (What::Reset, _) => say!("some changes were missed: darkroom jobs list"),
                (What::Nothing, _) => {}
            }
        }
        Ok(Exit::Success)
    };
    tokio::select! {
        end = print => end,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    }
}

/// Asks a job to stop, and says what came of it.
async fn cancel(client: &Client, job_id: &JobId) -> Result<Exit> {
    client.cancel_job(job_id).await?;
    let Ok(ended) = tokio::time::timeout(CANCEL_PATIENCE, client.wait(job_id)).await else {
        say!("it is asked to stop, and has not yet: darkroom jobs watch {job_id}");
        return Ok(Exit::StillRunning);
    };
    let job = ended?;
    live::conclude(&job);
    let provider = job.provider.as_ref();
    match provider.and_then(|provider| provider.cancel_outcome) {
        Some(CancelOutcome::Canceled) => say!("  the provider has stopped"),
        Some(CancelOutcome::TooLate) => say!("  the provider was done already, and charges for it"),
        Some(CancelOutcome::Unknown) => say!("  the provider does not say whether it has stopped"),
        None => {}
    }
    Ok(match job.status {
        JobStatus::Canceled => Exit::Success,
        _ => Exit::of_job(&job),
    })
}

fn open(client: &Client, job_id: &JobId) -> Result<Exit> {
    let page = client.at(&["j", job_id.as_str()]);
    show::line(&page)?;
    if open::that_detached(page.as_str()).is_err() {
        say!("there is no browser here; open it elsewhere");
    }
    Ok(Exit::Success)
}

async fn delete(client: &Client, job_ids: &[JobId], yes: bool) -> Result<Exit> {
    let what = match job_ids {
        [one] => format!("job {one}"),
        many => format!("{} jobs", many.len()),
    };
    let question = format!("Delete {what} and all that is stored of it, for good?");
    if !yes && !show::confirmed(&question)? {
        say!("nothing is deleted");
        return Ok(Exit::Success);
    }
    let mut missing = 0;
    for job_id in job_ids {
        match client.delete_job(job_id).await {
            Ok(deletion) => {
                show::line(job_id)?;
                if deletion.keeps_versions == Some(true) {
                    say!(
                        "the bucket keeps earlier versions of {job_id} until its own rules remove them"
                    );
                }
            }
            Err(error) if error.kind() == Some(Kind::NotFound) => {
                missing += 1;
                say!("there is no job {job_id}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    ensure!(
        missing == 0,
        "{missing} of {} jobs are not there",
        job_ids.len()
    );
    Ok(Exit::Success)
}
