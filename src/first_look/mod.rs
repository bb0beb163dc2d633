//! The run without a command (`cargo run`): starts the embedded stack, runs sample jobs over HTTP,
//! shows their outputs, and stays up until Ctrl-C.
//!
//! - `samples`: the sample jobs

mod samples;

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use darkroom_client::{
    Client,
    types::{resource::Job, status::MediaStatus},
};
use darkroom_dev::{Options, ProviderChoice, Stack};

use self::samples::Sample;
use crate::caller::{connection, picture};

/// Arguments of the run without a command.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Exit after the sample jobs. Succeeds only if each ended as expected and every output
    /// downloads with the SHA-256 of its job.
    #[arg(long)]
    once: bool,
    /// Sample jobs to run. Each is created once, however often this is started. Default: all; with
    /// Replicate, which charges for them, one.
    #[arg(long, value_enum, value_name = "WHICH")]
    sample: Option<Which>,
    /// Listen on any free ports instead of the usual ones.
    #[arg(long)]
    free_ports: bool,
    /// Directory of the stack's data.
    #[arg(long, default_value = ".darkroom", value_name = "DIRECTORY")]
    data: std::path::PathBuf,
}

/// Choice of sample jobs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Which {
    /// Several jobs, which end in every status.
    All,
    /// One job with four pictures.
    One,
    /// No jobs.
    None,
}

/// Timeout of all sample jobs: a real provider may queue them for a while.
const DEADLINE: Duration = Duration::from_mins(10);

/// Starts the stack, runs the sample jobs, and waits for Ctrl-C.
pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let directory = std::path::absolute(&arguments.data)?;
    print_line!(
        "Darkroom: starting everything on this machine (data in {})",
        arguments.data.display()
    );
    let token = std::env::var_os("REPLICATE_API_TOKEN").filter(|token| !token.is_empty());
    let which = arguments.sample.unwrap_or(match token {
        Some(_) => Which::One,
        None => Which::All,
    });
    let options = Options {
        directory,
        binary: std::env::current_exe()?,
        usual_ports: !arguments.free_ports,
        temporal_ui: true,
        provider: match token {
            Some(_) => ProviderChoice::Replicate,
            None => ProviderChoice::Embedded {
                latency: Duration::from_secs(3),
            },
        },
        variables: webhook_receivers(),
    };
    let start = Stack::start(options, |line| print_line!("  ✓ {line}"));
    let stack = tokio::select! {
        stack = start => stack?,
        () = crate::stop_signal() => return Ok(ExitCode::SUCCESS),
    };
    let client = Client::builder(stack.api_url().parse()?).build()?;
    greet(&stack);
    tokio::select! {
        result = run_samples(&client, which, arguments.once) => result?,
        () = crate::stop_signal() => return Ok(ExitCode::SUCCESS),
    }
    if !arguments.once {
        // The pictures may have scrolled the address out of sight, so it is printed again.
        let page = emphasized(&page(&stack));
        print_line!("Everything stays up until Ctrl-C: {page}");
        crate::stop_signal().await;
        print_line!("\nStopping. Open jobs resume at the next `cargo run`.");
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns `WEBHOOK_ALLOW` of this environment: unlike other variables of a worker, it is passed
/// on, so that a receiver on this machine can be tried.
fn webhook_receivers() -> Vec<(&'static str, String)> {
    const NAME: &str = "WEBHOOK_ALLOW";
    let allowed = std::env::var(NAME).ok();
    allowed.map(|hosts| (NAME, hosts)).into_iter().collect()
}

/// Prints the address of the page, a command to try, and the other addresses.
fn greet(stack: &Stack) {
    let api = stack.api_url();
    let program = std::env::args().next().unwrap_or_default();
    let at = if api == connection::USUAL {
        String::new()
    } else {
        format!("DARKROOM_URL={api} ")
    };
    print_line!(
        "\n  See it, and make your own:  {}\n",
        emphasized(&page(stack))
    );
    print_line!(
        "  from a terminal             {at}{program} run acme/photo 'a lighthouse in fog' --save pictures"
    );
    print_line!("  all that the api does       {api}/docs");
    if let Some(ui) = &stack.temporal.ui {
        print_line!("  histories, in Temporal's UI {ui}");
    }
    print_line!("");
}

/// URL of the page.
fn page(stack: &Stack) -> String {
    format!("{}/", stack.api_url())
}

fn emphasized(text: &str) -> String {
    if std::io::stdout().is_terminal() {
        console::style(text).bold().underlined().to_string()
    } else {
        text.to_owned()
    }
}

/// Runs the sample jobs, shows the pictures of the first, and prints a line for each.
async fn run_samples(client: &Client, which: Which, verified: bool) -> Result<()> {
    let samples = match which {
        Which::All => samples::all(),
        Which::One => vec![samples::first()],
        Which::None => return Ok(()),
    };
    let made = tokio::time::timeout(DEADLINE, made(client, &samples, verified));
    let count = made
        .await
        .with_context(|| format!("the sample jobs have not ended within {DEADLINE:?}"))??;
    if verified {
        print_line!("All {count} outputs downloaded and verified.");
    }
    Ok(())
}

async fn made(client: &Client, samples: &[Sample], verified: bool) -> Result<usize> {
    let what = match samples {
        [_] => "a sample job",
        _ => "sample jobs, so that every state can be seen",
    };
    print_line!("Making {what}: POST {}v1/jobs", client.url());
    let mut accepted = Vec::new();
    for sample in samples {
        accepted.extend(sample.ask(client).await?.map(|job| (sample, job)));
    }
    let mut count = 0;
    for (number, (sample, job)) in accepted.into_iter().enumerate() {
        let job = sample.ended(client, job).await?;
        if number == 0 {
            picture::show(client, &job, picture::When::Auto).await;
        }
        print_line!("  {}", line(&job));
        ensure!(
            job.status == sample.ends,
            "the sample job {} ended {} and not {}: {}",
            job.job_id,
            job.status,
            sample.ends,
            job.error_message.unwrap_or_default()
        );
        if verified {
            count += verify(client, &job).await?;
        }
    }
    print_line!("");
    Ok(count)
}

/// A job on one line: its status, its stored outputs and its prompt.
fn line(job: &Job) -> String {
    let counts = job.media_counts;
    let prompt = job.prompt.as_ref().map(|prompt| prompt.excerpt(40));
    format!(
        "{:9}  {} of {} stored  {}",
        job.status.to_string(),
        counts.completed,
        job.num_outputs.get(),
        prompt.unwrap_or_default()
    )
}

/// Downloads the stored outputs of a job, which verifies their size and SHA-256. Returns their
/// number.
async fn verify(client: &Client, job: &Job) -> Result<usize> {
    let stored = job
        .media
        .iter()
        .filter(|media| media.status == MediaStatus::Completed);
    let mut count = 0;
    for media in stored {
        client.read(&job.job_id, media).await?;
        count += 1;
    }
    Ok(count)
}
