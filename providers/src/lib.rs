//! Providers of generations: HTTP clients, wire formats, and verification of the webhooks that they
//! send. Nothing here calls Temporal or the store, or decides about jobs: that is up to the
//! workflow and the activities.
//!
//! - [`provider`]: the [`Provider`] trait, with its inputs, results and errors
//! - [`replicate`]: Replicate, and services that are compatible with its API
//! - [`instrumented`]: a wrapper that counts the calls to a provider
//! - `lenient`: lenient parsing of JSON; `clock`: the skew of a provider's clock

pub mod instrumented;
pub mod provider;
pub mod replicate;

mod clock;
mod lenient;

pub use provider::{Provider, ProviderError};
