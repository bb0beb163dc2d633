//! What Darkroom needs of a provider, and each provider: HTTP client, wire format, verification of its reports. Knows
//! neither Temporal nor the store, and makes no decision about jobs: those are the workflow's and the activities'.
//!
//! - [`provider`]: the [`Provider`] trait and what goes in and comes out of it
//! - [`replicate`]: Replicate, and what speaks its contract
//! - [`counted`]: a provider whose calls are counted
//! - `lenient`: reading JSON of others' making; `clock`: how far their clocks are off

pub mod counted;
pub mod provider;
pub mod replicate;

mod clock;
mod lenient;

pub use provider::{Prediction, Provider, ProviderError};
