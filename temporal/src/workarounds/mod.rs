//! Workarounds for faults of the SDK, one file each. A file names the fault, the test that shows
//! it, the fix that belongs upstream, and the condition for its removal. Reports with small
//! reproductions are in docs/upstream/.
//!
//! - [`cache_eviction`]: evicts a workflow after a query that may have put it ahead of its tasks
//! - [`worker_recycling`]: recycles a worker, because it keeps a token of each activity
//!
//! Two more workarounds are elsewhere:
//! - [`crate::heartbeat`] and [`crate::recorder`] heartbeat by RPC, because the SDK does not report
//!   whether a heartbeat was recorded, nor the reason of a cancellation
//!   (docs/upstream/heartbeat-acknowledgement.md)
//! - `debug-assertions = false` for dependencies in the workspace's Cargo.toml: a query while a
//!   workflow task waits for a local activity fails a debug assertion of temporalio-sdk-core
//!   (docs/upstream/query-without-task.md)

pub mod cache_eviction;
pub mod worker_recycling;
