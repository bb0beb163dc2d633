//! Client of Darkroom's API, built on the types of the API itself.
//!
//! - [`Client`]: base URL, API key, and one method per operation
//! - [`Error`]: errors of a call, divided by what the caller can do next
//! - [`events`]: streams of job states, resumed over any number of connections
//! - [`download`]: downloads of outputs, complete and verified
//! - `call`: one call with its retries; `jobs`, `keys`, `webhooks`: the operations
//!
//! A call whose answer is lost is retried, by default for at most 90 seconds, if it is idempotent.
//! Creating a job is: each request carries an `Idempotency-Key`, so that the job is paid for once.
//!
//! ```no_run
//! use darkroom_client::{Client, types::request::JobRequest};
//!
//! # async fn example() -> anyhow::Result<()> {
//! let client = Client::builder("https://darkroom.example.com".parse()?)
//!     .api_key("dk_acme.4f1c0a9be2d37c55.…")
//!     .build()?;
//! let request = JobRequest::new("acme/photo".parse()?, "a lighthouse in fog".parse()?);
//! let accepted = client.create_job(&request).await?;
//! let job = client.wait(&accepted.job_id).await?;
//! for media in &job.media {
//!     client.save(&job.job_id, media, "lighthouse.png".as_ref()).await?;
//! }
//! # Ok(())
//! # }
//! ```

mod call;
mod client;
mod error;
mod jobs;
mod keys;
mod webhooks;

pub mod download;
pub mod events;

pub use darkroom_types as types;

pub use self::{
    client::{Builder, Client},
    error::Error,
};
