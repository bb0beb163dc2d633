//! S3, all of it: what is written to a bucket, read from it and found out about its store. Temporal, jobs and providers are not
//! known here.
//!
//! - [`bucket`]: the bucket that everything is stored in, and how a process is told of it
//! - [`object`]: one object, written in one request, read, listed, removed; [`multipart`]: one in parts
//! - [`verify`]: making sure that the store has what it was sent
//! - [`streaming_body`]: a request whose bytes are still arriving; [`digest`]: what is computed of bytes
//! - [`presign`]: URLs for whoever has them
//! - [`features`]: what a store may lack; `probe`: finding out
//! - [`error`]: what comes of a request, cut by what a caller does about it

pub mod bucket;
pub mod digest;
pub mod error;
pub mod features;
pub mod multipart;
pub mod object;
pub mod presign;
pub mod streaming_body;
pub mod variables;
pub mod verify;

mod probe;

pub use self::{
    bucket::Storage,
    error::{Refusal, StorageError},
    features::Feature,
    multipart::{ListedUpload, Upload, UploadPage, UploadedPart},
    object::{Existing, ListedObject, NewObject, ObjectHead, ObjectPage, PutReceipt},
    presign::{Presentation, PresignedUrl},
    verify::UploadedObject,
};
