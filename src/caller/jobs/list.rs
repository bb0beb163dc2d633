//! `darkroom jobs list`: pages of jobs as a table or as JSON.

use std::time::Duration;

use anyhow::Result;
use darkroom_client::{
    Client,
    types::{
        request::{Expansion, ListJobs, ListedStatus, Model},
        resource::JobSummary,
    },
};
use jiff::Timestamp;
use serde_json::json;

use crate::caller::{
    Exit,
    follow::duration,
    input::parsed,
    show::{self, Format},
};

/// Page size, in jobs: the api's limit for a list with prompts.
const PAGE: u64 = 50;

/// Arguments of `darkroom jobs list`.
#[derive(clap::Args)]
pub(super) struct List {
    /// Only jobs with this status: processing, completed, partial, failed or canceled.
    #[arg(long, value_parser = parsed::<ListedStatus>)]
    status: Option<ListedStatus>,
    /// Only jobs of this model.
    #[arg(long)]
    model: Option<Model>,
    /// Only jobs created within this time, such as 24h.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<Duration>,
    /// Largest number of jobs to print.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Output format.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Format,
}

/// Reads jobs page by page and prints them.
pub(super) async fn list(client: &Client, arguments: List) -> Result<Exit> {
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
        match media.len() {
            0 => "0".to_owned(),
            total => format!("{stored}/{total}"),
        },
        job.model.to_string(),
        job.prompt
            .as_ref()
            .map(|prompt| prompt.excerpt(60))
            .unwrap_or_default(),
    ]
}
