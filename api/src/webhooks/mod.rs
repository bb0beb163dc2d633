//! Webhooks in both directions, one file per route:
//!
//! - [`list`], [`redeliver`]: notifications of callers, and their outcome; `delivery` reads it
//! - [`secret`]: the secret that signs them
//! - [`report`]: reports from the provider

pub(crate) mod list;
pub(crate) mod redeliver;
pub(crate) mod report;
pub(crate) mod secret;

mod delivery;
