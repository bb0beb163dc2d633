//! Access to Temporal below the API of its SDK: raw service calls, protobuf messages, acknowledged
//! heartbeats, and workarounds for faults of the SDK. Nothing here knows what a job is. Other
//! crates start, signal and query workflows through the SDK's own client.
//!
//! Read it in this order:
//! - [`connect`]: the standard `TEMPORAL_*` configuration, and a connection that is retried until
//!   the server is available
//! - [`call`]: timeouts of raw calls, and the errors that mean that the server is unavailable
//! - [`runs`]: workflow runs as visibility and descriptions show them: list, count, cancel, delete
//! - [`start`]: idempotent start of a workflow under a request id
//! - [`history`]: the events of a run, with payloads that decode to a type; [`history_poll`]: the
//!   long poll for new events
//! - [`heartbeat`]: acknowledged heartbeats of an activity; [`recorder`]: the same for an attempt
//!   that is never retried and heartbeats only to record a fact
//! - [`task_queues`]: pollers, backlog and rate limit of a task queue; [`workers`]: live workers
//!   by their heartbeats; [`deployments`]: versions of a worker deployment
//! - [`namespace`]: checks of the namespace and its search attributes
//! - [`metrics`]: the SDK's metrics in Darkroom's registry; [`trace_context`]: trace context from a
//!   client through workflows to activities
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
