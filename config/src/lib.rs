//! Environment variables: how one is described, read and listed. Settings of one process alone are
//! in `worker`, `api` and `storage`.
//!
//! - [`variable`]: one variable: its meaning, and reading it, with an error that names it and shows
//!   an example
//! - [`shared`]: variables that worker and api both read

pub mod shared;
pub mod variable;

pub use variable::{InvalidVariable, Variable};
