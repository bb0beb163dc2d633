//! All contact with Temporal below the surface of its SDK: raw service calls, protobuf messages,
//! heartbeats that are acknowledged, and the SDK's faults with their workarounds. Nothing here
//! knows what a job is. Workflows are started, signaled and queried through the SDK's own client,
//! by whoever does so.
//!
//! Read it in this order:
//! - [`connect`]: the standard `TEMPORAL_*` configuration, and a connection that is retried until
//!   there is a server
//! - [`call`]: timeouts of raw calls, and which errors mean that the server is unavailable
//! - [`runs`]: workflow runs as visibility and descriptions show them: list, count, cancel, delete
//! - [`start`]: starting a workflow under a request id, so that a repeated start makes one run
//! - [`history`]: the events of a run, with payloads that decode to a type; [`history_poll`]: the
//!   long poll for more
//! - [`heartbeat`]: heartbeats of an activity, acknowledged one by one; [`recorder`]: the same for
//!   an attempt that records a few facts and does not beat otherwise
//! - [`task_queues`]: pollers, backlogs and rate limits of task queues; [`workers`]: workers alive
//!   by their heartbeats; [`deployments`]: versions of a worker deployment
//! - [`namespace`]: the namespace and its search attributes
//! - [`metrics`]: the SDK's metrics among our own; [`trace_context`]: traces through workflows to
//!   activities
//! - [`workarounds`]: one file for each fault of the SDK

pub mod call;
pub mod connect;
pub mod deployments;
pub mod heartbeat;
pub mod history;
pub mod history_poll;
pub mod metrics;
pub mod namespace;
pub mod recorder;
pub mod runs;
pub mod start;
pub mod task_queues;
pub mod trace_context;
pub mod workarounds;
pub mod workers;

pub use self::connect::TemporalConfig;
