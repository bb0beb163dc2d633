//! Basis of all tests: stacks, callers, and servers between them that inject configured faults.
//!
//! - [`harness`]: a stack, a caller of its api, and waiting for conditions with a deadline
//! - [`world`]: a stack with an HTTP host of outputs and direct access to its store
//! - [`source`]: the HTTP host from which workers download outputs, with configurable faults
//! - [`proxy`]: a faulty proxy between worker and store
//! - [`missing_features`]: features that the proxy hides from the worker
//! - [`rpc_gate`]: a proxy that holds gRPC calls between a process and Temporal
//! - [`receiver`]: a receiver of webhooks

pub(crate) mod harness;
pub(crate) mod missing_features;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod rpc_gate;
pub(crate) mod source;
pub(crate) mod world;
