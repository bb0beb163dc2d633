//! The sample jobs: pictures in several aspect ratios, a video, and jobs that end partial, failed
//! and canceled.

use anyhow::{Context, Result};
use darkroom_client::{
    Client,
    types::{
        problem::Kind,
        request::{IdempotencyKey, JobRequest},
        resource::Job,
        status::{JobStatus, Stage},
    },
};
use futures::TryStreamExt;
use serde_json::{Value, json};

/// A model that both the embedded provider and Replicate accept.
const MODEL: &str = "black-forest-labs/flux-schnell";

/// A sample job.
pub(super) struct Sample {
    /// Idempotency key, which makes the job exist once.
    name: &'static str,
    body: Value,
    /// Expected terminal status.
    pub(super) ends: JobStatus,
}

/// The one sample job that runs with Replicate as well.
pub(super) fn first() -> Sample {
    let body = json!({
        "model": MODEL,
        "prompt": "hills at dusk, the first stars",
        "num_outputs": 4,
        "output_format": "png",
    });
    Sample {
        name: "first-look-hills",
        body,
        ends: JobStatus::Completed,
    }
}

/// All sample jobs. Those after the first carry instructions for the embedded provider
/// (`input.dev`).
pub(super) fn all() -> Vec<Sample> {
    let wide = json!({
        "model": MODEL,
        "prompt": "a lighthouse in fog, long exposure",
        "num_outputs": 2,
        "input": {"aspect_ratio": "16:9"},
    });
    let tall = json!({
        "model": "acme/photo",
        "prompt": "mountains, one color at a time",
        "num_outputs": 3,
        "output_format": "jpg",
        "input": {"aspect_ratio": "9:16"},
    });
    let video = json!({
        "model": "acme/video",
        "prompt": "waves at night, slow motion",
        "output_format": "mp4",
    });
    let partial = json!({
        "model": "acme/photo",
        "prompt": "the city from a night train",
        "num_outputs": 3,
        "input": {"aspect_ratio": "1:1", "dev": {"missing": [2]}},
    });
    let failed = json!({
        "model": "acme/photo",
        "prompt": "a portrait of nobody",
        "input": {"dev": {"fail": "the prompt was flagged as sensitive"}},
    });
    let canceled = json!({
        "model": "acme/photo",
        "prompt": "a cathedral made of coral",
        "num_outputs": 2,
        "input": {"dev": {"latency_ms": 600_000}},
    });
    let ends = [
        ("first-look-lighthouse", wide, JobStatus::Completed),
        ("first-look-mountains", tall, JobStatus::Completed),
        ("first-look-waves", video, JobStatus::Completed),
        ("first-look-city", partial, JobStatus::Partial),
        ("first-look-portrait", failed, JobStatus::Failed),
        ("first-look-cathedral", canceled, JobStatus::Canceled),
    ];
    let others = ends.map(|(name, body, ends)| Sample { name, body, ends });
    [first()].into_iter().chain(others).collect()
}

impl Sample {
    /// Creates the job, or returns the one that exists. Returns `None` if the job was deleted
    /// since.
    pub(super) async fn ask(&self, client: &Client) -> Result<Option<Job>> {
        let request: JobRequest = serde_json::from_value(self.body.clone())
            .with_context(|| format!("{} is no request", self.name))?;
        let key: IdempotencyKey = self.name.parse()?;
        match client.create_job_once(&request, &key).await {
            Ok(job) => Ok(Some(job)),
            Err(error) if error.kind() == Some(Kind::Deleted) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Follows the job to its end. Cancels it if it is expected to end canceled.
    pub(super) async fn ended(&self, client: &Client, job: Job) -> Result<Job> {
        if self.ends == JobStatus::Canceled && !job.status.is_terminal() {
            let mut states = client.follow(&job.job_id);
            while let Some(job) = states.try_next().await? {
                if job.stage == Some(Stage::Generating) {
                    break;
                }
            }
            client.cancel_job(&job.job_id).await?;
        }
        Ok(client.wait(&job.job_id).await?)
    }
}
