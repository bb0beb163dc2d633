//! S3, all of it: the bucket, what is written to it and what is read from it. Temporal, jobs and providers are not known here.
//!
//! - [`bucket`]: the bucket that everything is stored in, and how a process is told of it
//! - [`streaming_body`]: a request whose bytes are still arriving
//! - [`digest`]: what is computed of an object's bytes

pub mod bucket;
pub mod digest;
pub mod streaming_body;

pub use bucket::Storage;
