//! Basis of all tests: stacks, callers, and servers between them that inject configured faults.
//!
//! - [`harness`]: stacks, requests for jobs, and waiting for conditions with a deadline
//! - [`api`]: a caller of a stack's api
//! - [`processes`]: signals, ends and restarts of a stack's processes, their logs and metrics
//! - [`workflows`]: workflows of jobs in Temporal
//! - [`context`]: a stack with an HTTP host of outputs and direct access to its store
//! - [`source`]: the HTTP host from which workers download outputs, with configurable faults
//! - [`proxy`]: a faulty proxy between worker and store
//! - [`missing_features`]: features that the proxy hides from the worker
//! - [`rpc_gate`]: a proxy that holds gRPC calls between a process and Temporal
//! - [`receiver`]: a receiver of webhooks

pub(crate) mod api;
pub(crate) mod context;
pub(crate) mod harness;
pub(crate) mod missing_features;
pub(crate) mod processes;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod rpc_gate;
pub(crate) mod source;
pub(crate) mod workflows;
