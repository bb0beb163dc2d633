//! The words of Darkroom's API, each shape once: what callers send and get, and what the rest of Darkroom calls the same
//! things. It knows nobody: no Temporal, no HTTP server, no I/O.
//!
//! - [`request`]: what a caller asks for, parsed
//! - [`tenant`], [`job_id`]: whose job it is, and which
//! - [`status`], [`provider`]: where jobs, outputs and predictions stand
//! - [`failure`]: why something failed

pub mod failure;
pub mod job_id;
pub mod provider;
pub mod request;
pub mod status;
pub mod tenant;
