//! What plain `cargo run` does: starts the embedded stack, runs a sample job through HTTP while you watch, shows where
//! everything is, and stays up.

use std::{io::Write, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use darkroom::dev::{Options, ProviderChoice, Stack};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Client;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

/// Prints a line. Whoever reads it may stop reading without stopping us.
macro_rules! say {
    ($($arguments:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($arguments)*);
    }};
}

/// The arguments of a run without a command.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave after the sample job: with success only if every picture downloads as the job says it is.
    #[arg(long)]
    once: bool,
    /// Listen on any free ports, not on the usual ones.
    #[arg(long)]
    free_ports: bool,
    /// Where the stack keeps its data.
    #[arg(long, default_value = ".darkroom", value_name = "DIRECTORY")]
    data: std::path::PathBuf,
}

/// How long a sample job may take: a real provider may queue it for a while.
const DEADLINE: Duration = Duration::from_mins(10);

/// A sample that the embedded provider paints; Replicate needs a model of its own.
const SAMPLE_MODEL: &str = "black-forest-labs/flux-schnell";

/// Starts the stack, runs the sample and waits for Ctrl-C.
pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let directory = std::path::absolute(&arguments.data)?;
    say!(
        "Darkroom: starting everything on this machine (data in {})",
        arguments.data.display()
    );
    let options = Options {
        directory,
        binary: std::env::current_exe()?,
        usual_ports: !arguments.free_ports,
        temporal_ui: true,
        provider: match std::env::var_os("REPLICATE_API_TOKEN").filter(|token| !token.is_empty()) {
            Some(_) => ProviderChoice::Replicate,
            None => ProviderChoice::Embedded {
                latency: Duration::from_secs(3),
            },
        },
        variables: Vec::new(),
    };
    let start = Stack::start(options, |line| say!("  ✓ {line}"));
    let stack = tokio::select! {
        stack = start => stack?,
        () = crate::stop_signal() => return Ok(ExitCode::SUCCESS),
    };
    let sample = async {
        let job = watch_sample(&stack.api_url()).await?;
        show(&stack, &job);
        ensure!(
            job.status == "completed",
            "the sample job ended {}: {}",
            job.status,
            job.error_message.unwrap_or_default()
        );
        if arguments.once {
            verify(&job).await?;
            say!(
                "All {} pictures downloaded as the job says they are.",
                job.media.len()
            );
        }
        Ok(())
    };
    tokio::select! {
        result = sample => result?,
        () = crate::stop_signal() => return Ok(ExitCode::SUCCESS),
    }
    if !arguments.once {
        say!("Everything stays up until Ctrl-C.");
        crate::stop_signal().await;
        say!("\nStopping. Jobs under way go on at the next `cargo run`.");
    }
    Ok(ExitCode::SUCCESS)
}

/// What we read of the job resource.
#[derive(Deserialize)]
struct Job {
    job_id: String,
    status: String,
    stage: Option<String>,
    error_message: Option<String>,
    media: Vec<Media>,
    links: Links,
}

#[derive(Deserialize)]
struct Media {
    index: u32,
    status: String,
    media_url: Option<String>,
    presigned_media_url: Option<String>,
    content_type: Option<String>,
    size: Option<u64>,
    sha256: Option<String>,
    error_message: Option<String>,
}

#[derive(Deserialize)]
struct Links {
    temporal: Option<String>,
}

impl Job {
    fn is_terminal(&self) -> bool {
        !["pending", "processing"].contains(&self.status.as_str())
    }

    fn stored(&self) -> usize {
        self.media
            .iter()
            .filter(|media| media.status == "completed")
            .count()
    }
}

fn http() -> Result<Client> {
    Ok(Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()?)
}

fn sample_request() -> serde_json::Value {
    json!({
        "model": SAMPLE_MODEL,
        "prompt": "hills at dusk, the first stars",
        "num_outputs": 4,
        "output_format": "png",
    })
}

async fn watch_sample(api: &str) -> Result<Job> {
    let http = http()?;
    say!("\nA sample job: POST {api}/v1/jobs");
    let response = http
        .post(format!("{api}/v1/jobs"))
        .json(&sample_request())
        .send()
        .await?;
    ensure!(
        response.status().is_success(),
        "the api answered {}: {}",
        response.status(),
        response.text().await?
    );
    let mut job: Job = response.json().await?;
    let url = format!("{api}/v1/jobs/{}", job.job_id);

    let bar = ProgressBar::new(4).with_style(ProgressStyle::with_template(
        "  {spinner} {msg:28} {bar:24} {pos}/{len}  {elapsed}",
    )?);
    bar.enable_steady_tick(Duration::from_millis(100));
    let give_up = tokio::time::Instant::now() + DEADLINE;
    while !job.is_terminal() {
        bar.set_message(format!(
            "{}, {}",
            job.status,
            job.stage.as_deref().unwrap_or("…")
        ));
        bar.set_position(job.stored() as u64);
        if tokio::time::Instant::now() > give_up {
            bail!("the sample job has not ended within {DEADLINE:?}; see {url}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        job = http
            .get(&url)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
    }
    bar.finish_and_clear();
    Ok(job)
}

fn show(stack: &Stack, job: &Job) {
    let api = stack.api_url();
    say!(
        "  job {} {}: {} of {} outputs stored\n",
        job.job_id,
        job.status,
        job.stored(),
        job.media.len()
    );
    for media in &job.media {
        match &media.media_url {
            Some(url) => {
                let kind = media.content_type.as_deref().unwrap_or_default();
                let kilobytes = media.size.unwrap_or_default() / 1024;
                say!(
                    "  picture {}  {kind:10} {kilobytes:>5} KiB  {url}",
                    media.index
                );
            }
            None => say!(
                "  picture {}  {}  {}",
                media.index,
                media.status,
                media.error_message.as_deref().unwrap_or_default()
            ),
        }
    }
    say!("  the page   {api}/j/{}", job.job_id);
    say!("  the job    {api}/v1/jobs/{}", job.job_id);
    if let Some(url) = &job.links.temporal {
        say!("  its history in the Temporal UI\n             {url}");
    }
    say!(
        "\nSee it, and make another one: {api}/\n\nOr from a terminal:\n  curl -s {api}/v1/jobs -H 'Content-Type: application/json' \\\n    \
         -d '{{\"model\": \"{SAMPLE_MODEL}\", \"prompt\": \"a lighthouse in fog\", \"num_outputs\": 2}}'\n\nAll that the api does:\n  {api}/docs\n"
    );
}

async fn verify(job: &Job) -> Result<()> {
    let http = http()?;
    for media in &job.media {
        let url = media
            .presigned_media_url
            .as_deref()
            .context("a stored picture has no URL")?;
        let bytes = http
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .bytes()
            .await?;
        let sha256 = hex::encode(Sha256::digest(&bytes));
        ensure!(
            media.sha256.as_deref() == Some(sha256.as_str())
                && media.size == Some(bytes.len() as u64),
            "picture {} is not what the job says it is",
            media.index
        );
    }
    Ok(())
}
