//! Workarounds for faults of the SDK, one file each. A file names the fault, the test that shows
//! it, the fix that belongs upstream, and the condition for its removal. Reports with small
//! reproductions are in docs/upstream/.
//!
//! - [`cache_eviction`]: evicts a workflow after a query that may have put it ahead of its tasks
//! - [`worker_recycling`]: recycles a worker, because it keeps a token of each activity
//!
//! Three more are where their work is:
//!
//! [`crate::heartbeat`] and [`crate::recorder`] heartbeat by RPC.
//!
//! - **Fault**: the SDK does not report whether a heartbeat was recorded, nor the reason of a
//!   cancellation.
//! - **Shown by**: the program in docs/upstream/heartbeat-acknowledgement.md; tests/it/uploads.rs
//!   and `tests/it/kill_points.rs` kill workers right after a record.
//! - **Belongs upstream**: in `ActivityContext`; see the same report.
//! - **Remove** when a heartbeat of the SDK can be awaited and a cancellation says why it came.
//!
//! `debug-assertions = false` for dependencies in the workspace's Cargo.toml.
//!
//! - **Fault**: a query while a workflow task waits for a local activity fails a debug assertion of
//!   `temporalio-sdk-core`.
//! - **Shown by**: tests/it/queries.rs, if built with debug assertions.
//! - **Belongs upstream**: in sdk-core's buffer of workflow tasks; see
//!   docs/upstream/query-without-task.md.
//! - **Remove** the setting's second reason when a query no longer replaces a task; the first, the
//!   time that assertions take, remains.
//!
//! `finalize` returns the time of the end (workflows/src/contract/finalize.rs).
//!
//! - **Fault**: Core may replay the tasks around a local activity as one task, so that code before
//!   the activity reads another workflow time than in its first execution.
//! - **Shown by**: `http::webhooks::an_end_that_was_slow_to_record_has_one_time` in tests/it.
//! - **Belongs upstream**: in sdk-core's reading of histories; see
//!   docs/upstream/time-of-merged-tasks.md.
//! - **Remove** when a replay gives code before a local activity the time of its first execution.

pub mod cache_eviction;
pub mod worker_recycling;
