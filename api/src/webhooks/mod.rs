//! Webhooks, in both directions. One file a route:
//!
//! - [`report`]: what the provider reports
//! - [`list`], [`redeliver`]: what we tell callers, and what came of it; `delivery` reads it
//! - [`secret`]: what signs it

pub(crate) mod list;
pub(crate) mod redeliver;
pub(crate) mod report;
pub(crate) mod secret;

mod delivery;
