//! What tests stand on: stacks, callers, and parts between them that behave as badly as they are told to.
//!
//! - [`harness`]: a stack, a caller of its api, and waiting for conditions with a deadline
//! - [`world`]: a stack with a host of outputs, and a look into its store
//! - [`source`]: the host of outputs
//! - [`proxy`]: between worker and store
//! - [`lacks`]: what the store behind it is made to lack
//! - [`rpc_gate`]: between a process and Temporal
//! - [`receiver`]: of webhooks

pub(crate) mod harness;
pub(crate) mod lacks;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod rpc_gate;
pub(crate) mod source;
pub(crate) mod world;
