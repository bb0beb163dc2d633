//! `darkroom production`: starts the production stack on this machine and runs sample jobs through
//! it.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use darkroom_client::{
    Client,
    types::{request::JobRequest, resource::Job, status::JobStatus},
};
use darkroom_dev::{Options, ProviderChoice, production::Production};
use futures::{StreamExt, stream};

/// Arguments of `darkroom production`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Number of workers.
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// Number of sample jobs to run at the start.
    #[arg(long, default_value_t = 20)]
    jobs: usize,
    /// Exit after the sample jobs. Succeeds only if all of them completed.
    #[arg(long)]
    once: bool,
    /// Listen on any free ports instead of the usual ones.
    #[arg(long)]
    free_ports: bool,
    /// Directory of the stack's data.
    #[arg(long, default_value = ".darkroom/production", value_name = "DIRECTORY")]
    data: std::path::PathBuf,
}

/// Sample jobs under way at a time.
const CONCURRENCY: usize = 32;

/// Timeout of one sample job.
const DEADLINE: Duration = Duration::from_mins(10);

/// Starts the stack, runs the jobs and waits for Ctrl-C.
pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    print_line!(
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
        // The sample jobs all come at once, from one caller, and would exceed the default rate
        // limit.
        variables: vec![("DARKROOM_REQUESTS_PER_SECOND", "1000".to_owned())],
    };
    let start = Production::start(options, arguments.workers, |line| print_line!("  ✓ {line}"));
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
        print_line!(
            "\nA job of your own:\n  curl -s {api}/v1/jobs -H \"Authorization: Bearer $(cat {})\" \\\n    \
             -H 'Content-Type: application/json' -d '{{\"model\": \"acme/photo\", \"prompt\": \"a lighthouse in fog\"}}'\n\n\
             The runbook is docs/operations.md, with\n  export TEMPORAL_ADDRESS={} TEMPORAL_NAMESPACE=darkroom\n\n\
             Everything stays up until Ctrl-C.",
            key.display(),
            stack.temporal.address
        );
        crate::stop_signal().await;
        print_line!("\nStopping. Open jobs resume at the next start.");
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_jobs(stack: &Production, count: usize) -> Result<()> {
    let client = Client::builder(stack.api_url().parse()?).api_key(stack.api_key.as_str());
    let client = &client.build()?;
    print_line!("\n{count} sample jobs of 4 outputs each, {CONCURRENCY} at a time");
    let began = Instant::now();
    let jobs = stream::iter(0..count)
        .map(|number| run_job(client, number))
        .buffer_unordered(CONCURRENCY);
    let jobs: Vec<_> = jobs.collect().await;
    let took = began.elapsed().as_secs_f64();
    for job in jobs {
        let job = job?;
        ensure!(
            job.status == JobStatus::Completed,
            "job {} ended {}",
            job.job_id,
            job.status
        );
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let rate = count as f64 / took;
    print_line!("  all of them completed in {took:.1} s: {rate:.1} jobs/s");
    Ok(())
}

async fn run_job(client: &Client, number: usize) -> Result<Job> {
    let prompt = format!("hills at dusk, number {number}").parse()?;
    let request = JobRequest {
        num_outputs: 4.try_into()?,
        ..JobRequest::new("acme/photo".parse()?, prompt)
    };
    let job_id = client.create_job(&request).await?.job_id;
    let ended = tokio::time::timeout(DEADLINE, client.wait(&job_id)).await;
    Ok(ended.with_context(|| format!("job {job_id} has not ended within {DEADLINE:?}"))??)
}
