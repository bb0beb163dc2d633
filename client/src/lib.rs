//! A client of Darkroom's API, on the types that the API itself is made of.
//!
//! - [`Client`]: where the api is, who calls, and a method for each operation
//! - [`Error`]: what may come of a call, cut by what a caller does next
//! - [`events`]: jobs as they change, over any number of connections
//! - [`download`]: outputs, whole and verified
//!
//! A call whose answer is lost is sent again, for a minute and a half at most, if that cannot do
//! anything twice. To create a job is such a call: each carries an `Idempotency-Key`, so that it is
//! paid for once.
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
