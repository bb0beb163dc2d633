//! `darkroom production`: the production stack on this machine, and jobs through it.

use std::{
    io::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use darkroom::dev::{Options, ProviderChoice, production::Production};
use futures::{StreamExt, stream};
use reqwest::Client;
use serde::Deserialize;
use serde_json::json;

/// Prints a line. Whoever reads it may stop reading without stopping us.
macro_rules! say {
    ($($arguments:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($arguments)*);
    }};
}

/// The arguments.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many workers.
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// How many sample jobs to run at the beginning.
    #[arg(long, default_value_t = 20)]
    jobs: usize,
    /// Leave after the sample jobs: with success only if every one completed.
    #[arg(long)]
    once: bool,
    /// Listen on any free ports, not on the usual ones.
    #[arg(long)]
    free_ports: bool,
    /// Where the stack keeps its data.
    #[arg(long, default_value = ".darkroom/production", value_name = "DIRECTORY")]
    data: std::path::PathBuf,
}

/// How many jobs are under way at a time.
const CONCURRENCY: usize = 32;

/// How long a job may take.
const DEADLINE: Duration = Duration::from_mins(10);

/// Starts the stack, runs the jobs and waits for Ctrl-C.
pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    say!(
        "Darkroom: starting the production stack on this machine (data in {})",
        arguments.data.display()
    );
    let options = Options {
        directory: std::path::absolute(&arguments.data)?,
        binary: std::env::current_exe()?,
        usual_ports: !arguments.free_ports,
        temporal_ui: true,
        provider: ProviderChoice::Embedded {
            latency: Duration::from_millis(500),
        },
        // The sample jobs come all at once, from one caller.
        variables: vec![("DARKROOM_REQUESTS_PER_SECOND", "1000".to_owned())],
    };
    let start = Production::start(options, arguments.workers, |line| say!("  ✓ {line}"));
    let stack = tokio::select! {
        stack = start => stack?,
        () = crate::stop_signal() => return Ok(ExitCode::SUCCESS),
    };
    tokio::select! {
        result = run_jobs(&stack, arguments.jobs) => result?,
        () = crate::stop_signal() => return Ok(ExitCode::SUCCESS),
    }
    if !arguments.once {
        let (api, key) = (stack.api_url(), arguments.data.join("api-key"));
        say!(
            "\nA job of your own:\n  curl -s {api}/v1/jobs -H \"Authorization: Bearer $(cat {})\" \\\n    \
             -H 'Content-Type: application/json' -d '{{\"model\": \"acme/photo\", \"prompt\": \"a lighthouse in fog\"}}'\n\n\
             The runbook is docs/operations.md, with\n  export TEMPORAL_ADDRESS={} TEMPORAL_NAMESPACE=darkroom\n\n\
             Everything stays up until Ctrl-C.",
            key.display(),
            stack.temporal.address
        );
        crate::stop_signal().await;
        say!("\nStopping. Jobs under way go on at the next start.");
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Deserialize)]
struct Job {
    job_id: String,
    status: String,
}

async fn run_jobs(stack: &Production, count: usize) -> Result<()> {
    let http = Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(90))
        .build()?;
    say!("\n{count} sample jobs of 4 outputs each, {CONCURRENCY} at a time");
    let began = Instant::now();
    let jobs = stream::iter(0..count)
        .map(|number| run_job(&http, stack, number))
        .buffer_unordered(CONCURRENCY);
    let jobs: Vec<_> = jobs.collect().await;
    let took = began.elapsed().as_secs_f64();
    for job in jobs {
        let job = job?;
        ensure!(
            job.status == "completed",
            "job {} ended {}",
            job.job_id,
            job.status
        );
    }
    #[expect(clippy::cast_precision_loss, reason = "nobody asks for 2^53 jobs")]
    let rate = count as f64 / took;
    say!("  all of them completed in {took:.1} s: {rate:.1} jobs/s");
    Ok(())
}

async fn run_job(http: &Client, stack: &Production, number: usize) -> Result<Job> {
    let jobs = format!("{}/v1/jobs", stack.api_url());
    let request = json!({"model": "acme/photo", "prompt": format!("hills at dusk, number {number}"), "num_outputs": 4});
    let answer = http
        .post(&jobs)
        .bearer_auth(&stack.api_key)
        .json(&request)
        .send()
        .await?;
    let mut job: Job = answer.error_for_status()?.json().await?;
    let began = Instant::now();
    while ["pending", "processing"].contains(&job.status.as_str()) {
        ensure!(
            began.elapsed() < DEADLINE,
            "job {} has not ended within {DEADLINE:?}",
            job.job_id
        );
        let read = http
            .get(format!("{jobs}/{}", job.job_id))
            .bearer_auth(&stack.api_key)
            .header("Prefer", "wait=30");
        job = read.send().await?.error_for_status()?.json().await?;
    }
    Ok(job)
}
