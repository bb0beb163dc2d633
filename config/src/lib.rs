//! Environment variables: how one is described, read and listed. What a process does with its own is in `worker`, `api` and
//! `storage`.
//!
//! - [`variable`]: one variable: its meaning, and reading it, with an error that names it and shows an example
//! - [`shared`]: those that worker and api both read

pub mod shared;
pub mod variable;

pub use variable::{InvalidVariable, Variable};
