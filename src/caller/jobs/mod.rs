//! `darkroom jobs`: commands on existing jobs.
//!
//! - `list`: `jobs list`
//! - `describe`: `jobs get` as text

mod describe;
mod list;

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Subcommand;
use darkroom_client::{
    Client,
    events::ChangeKind,
    types::{
        job_id::JobId, problem::Kind, provider::CancelOutcome, request::RetryRequest,
        status::JobStatus,
    },
};
use futures::TryStreamExt;

use crate::caller::{
    Exit,
    connection::Connection,
    files::Destination,
    follow::{self, Following, Outputs},
    live, picture,
    show::{self, Format, say},
};

/// Longest wait for a job to end after its cancellation was requested.
const CANCEL_TIMEOUT: Duration = Duration::from_mins(1);

/// Arguments of `darkroom jobs`.
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
    List(list::List),
    /// Print a job.
    Get {
        /// Job id.
        job_id: JobId,
        /// Output format.
        #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
        output: Format,
    },
    /// Follow a job to its end. Without an id, follow all jobs until Ctrl-C.
    Watch {
        /// Job id.
        job_id: Option<JobId>,
        #[command(flatten)]
        following: Following,
    },
    /// Cancel a job and print the result. Outputs that are stored already are kept.
    Cancel {
        /// Job id.
        job_id: JobId,
    },
    /// Retry a partial or failed job. Fetches missing outputs, or looks again for a prediction that
    /// is in doubt, free of charge; a job that the provider did not take is submitted again.
    Retry {
        /// Job id.
        job_id: JobId,
        /// Have the provider generate the outputs again, which it charges for again.
        #[arg(long)]
        regenerate: bool,
        #[command(flatten)]
        following: Following,
    },
    /// Save the stored outputs of a job.
    Save {
        /// Job id.
        job_id: JobId,
        /// A directory, or a template such as '{job}/{index}.{ext}'.
        #[arg(default_value = ".", value_name = "DIR | TEMPLATE")]
        to: Destination,
    },
    /// Open the page of a job in the browser.
    Open {
        /// Job id.
        job_id: JobId,
    },
    /// Delete jobs and everything stored of them, for good.
    Delete {
        /// Job ids.
        #[arg(required = true)]
        job_ids: Vec<JobId>,
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
    /// Print the webhook deliveries of a job, attempt by attempt.
    Webhooks {
        /// Job id.
        job_id: JobId,
        /// Send the webhook once more first.
        #[arg(long)]
        again: bool,
    },
}

/// Runs the command.
pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let client = &arguments.connection.client()?;
    match arguments.command {
        Command::List(arguments) => list::list(client, arguments).await,
        Command::Get { job_id, output } => {
            let job = client.get_job(&job_id).await?;
            match output {
                Format::Text => describe::describe(&job)?,
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
            let request = RetryRequest { regenerate };
            let job = match client.retry_job(&job_id, request).await {
                Err(error) if error.kind() == Some(Kind::GenerationNeeded) => {
                    say!("error: {error}");
                    live::Retry::Regenerate.suggest(&job_id);
                    return Ok(Exit::of_error(&error.into()));
                }
                retried => retried?,
            };
            say!("job {} is being retried", job.job_id);
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

/// Prints each change of any job, until Ctrl-C.
async fn watch_all(client: &Client, format: Format) -> Result<Exit> {
    let mut changes = client.follow_all(None);
    let print = async {
        while let Some(change) = changes.try_next().await? {
            match (change.what, format) {
                (ChangeKind::Job(job), Format::Text) => {
                    let at = change.position.strftime("%H:%M:%S");
                    let counts = job.media_counts;
                    // Until they are made, there are none to count.
                    let total = counts.total.max(usize::from(job.num_outputs.get()));
                    show::line(format_args!(
                        "{at}  {}  {:10}  {}/{}  {}",
                        job.job_id, job.status, counts.completed, total, job.model
                    ))?;
                }
                (ChangeKind::Job(job), Format::Json | Format::Jsonl) => {
                    show::document(&job, Format::Jsonl)?;
                }
                (ChangeKind::Reset, _) => say!("some changes were missed: darkroom jobs list"),
                (ChangeKind::Checkpoint, _) => {}
            }
        }
        Ok(Exit::Success)
    };
    tokio::select! {
        end = print => end,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    }
}

/// Requests cancellation of a job, waits for its end and prints the result.
async fn cancel(client: &Client, job_id: &JobId) -> Result<Exit> {
    client.cancel_job(job_id).await?;
    let Ok(ended) = tokio::time::timeout(CANCEL_TIMEOUT, client.wait(job_id)).await else {
        say!("cancellation requested; not ended yet: darkroom jobs watch {job_id}");
        return Ok(Exit::StillRunning);
    };
    let job = ended?;
    live::conclude(&job);
    let provider = job.provider.as_ref();
    match provider.and_then(|provider| provider.cancel_outcome) {
        Some(CancelOutcome::Canceled) => say!("  the provider has stopped"),
        Some(CancelOutcome::TooLate) => {
            say!("  the provider had finished already, and charges for it");
        }
        Some(CancelOutcome::Unknown) => say!("  the provider does not say whether it has stopped"),
        None => {}
    }
    Ok(match job.status {
        JobStatus::Canceled => Exit::Success,
        _ => Exit::of_job(&job),
    })
}

fn open(client: &Client, job_id: &JobId) -> Result<Exit> {
    let page = client.url_of(&["j", &job_id.to_string()]);
    show::line(&page)?;
    if open::that_detached(page.as_str()).is_err() {
        say!("no browser could be opened; open the URL elsewhere");
    }
    Ok(Exit::Success)
}

async fn delete(client: &Client, job_ids: &[JobId], yes: bool) -> Result<Exit> {
    let what = match job_ids {
        [one] => format!("job {one}"),
        many => format!("{} jobs", many.len()),
    };
    let question = format!("Delete {what} and everything stored, for good?");
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
        "{missing} of {} jobs do not exist",
        job_ids.len()
    );
    Ok(Exit::Success)
}
