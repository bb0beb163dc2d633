//! Creates a job, waits for its end, and prints where each output is, its size and its SHA-256.
//!
//! ```sh
//! export DARKROOM_URL=http://127.0.0.1:8080   # and DARKROOM_API_KEY, if the api has keys
//! cargo run -p darkroom-client --example create -- order-1042
//! cargo run -p darkroom-client --example create -- order-1043 '{"model": "m/n", "prompt": "fox"}'
//! ```

#![expect(
    clippy::print_stdout,
    reason = "the outputs are what the example prints"
)]

use std::env;

use anyhow::{Context, Result, bail};
use darkroom_client::{
    Client,
    types::{request::JobRequest, status::JobStatus},
};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    // The key is your own name for this order: the same key never pays twice.
    let key = arguments.next().context("usage: create KEY [REQUEST]")?;
    let request = match arguments.next() {
        Some(json) => serde_json::from_str(&json)?,
        None => JobRequest {
            num_outputs: 2.try_into()?,
            ..JobRequest::new("acme/photo".parse()?, "a lighthouse in fog".parse()?)
        },
    };
    let url = env::var("DARKROOM_URL").context("DARKROOM_URL")?;
    let mut client = Client::builder(url.parse()?);
    if let Ok(api_key) = env::var("DARKROOM_API_KEY") {
        client = client.api_key(api_key);
    }
    let client = client.build()?;

    // Both calls retry what is lost or refused for the moment, for 90 seconds.
    let accepted = client.create_job_once(&request, &key.parse()?).await?;
    let job = client.wait(&accepted.job_id).await?;

    for media in client.all_media(&job).await? {
        if let (Some(url), Some(size), Some(sha256)) = (media.media_url, media.size, media.sha256) {
            println!("{url} {size} {sha256}");
        }
    }
    if job.status != JobStatus::Completed {
        let why = job.error_message.unwrap_or_default();
        bail!("job {} {}: {why}", job.job_id, job.status);
    }
    Ok(())
}
