//! Faults of the SDK that Darkroom works around: one file each, with the fault, the test that shows
//! it, the place where it belongs upstream, and when to remove it. Reports with small reproductions
//! are in docs/upstream/.
//!
//! - [`cache_eviction`]: queries that put a workflow ahead of its tasks
//! - [`worker_recycling`]: tokens of activities that are never forgotten
//!
//! Two more are elsewhere, as they are a line or part of a whole:
//! - [`crate::heartbeat`] and [`crate::recorder`] heartbeat by RPC, as the SDK does not tell
//!   whether a heartbeat arrived, nor why an activity is to stop
//!   (docs/upstream/heartbeat-acknowledgement.md)
//! - `debug-assertions = false` for temporalio-sdk-core in the workspace's Cargo.toml: a query at
//!   the wrong moment breaks one of its assertions, which a release build does not have
//!   (docs/upstream/query-without-task.md)

pub mod cache_eviction;
pub mod worker_recycling;
