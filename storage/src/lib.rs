//! All access to S3: the objects of one bucket, and the features of its store. Temporal, jobs and
//! providers are not known here.
//!
//! - [`bucket`]: the bucket and its clients; [`variables`]: the environment variables that
//!   configure them
//! - [`object`]: objects written in one request, and deleted; [`multipart`]: multipart uploads
//! - [`read`]: objects read; [`list`]: listings of objects and multipart uploads
//! - [`verify`]: verifies that the store has what it was sent
//! - [`streaming_body`]: a request body with a trailer checksum, sent while its bytes arrive;
//!   [`digest`]: SHA-256 and CRC-32
//! - [`presign`]: presigned URLs
//! - [`features`]: features that a store may be missing; `probe`: detects them
//! - [`error`]: why a request failed, classified by what a caller does about it
//!
//! Requests are boxed: a future is compiled in the crate that polls it, and those of our callers
//! would contain the SDK's.

pub mod bucket;
pub mod digest;
pub mod error;
pub mod features;
pub mod list;
pub mod multipart;
pub mod object;
pub mod presign;
pub mod read;
pub mod streaming_body;
pub mod variables;
pub mod verify;

mod probe;

pub use self::{
    bucket::Storage,
    error::{Refusal, StorageError},
    features::Feature,
    list::{ListedObject, ListedUpload, ObjectPage, UploadPage},
    multipart::{Upload, UploadedPart},
    object::{Existing, NewObject, PutResult},
    presign::{Presentation, PresignedUrl},
    read::ObjectHead,
    verify::UploadedObject,
};
