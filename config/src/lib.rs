//! How a Darkroom process is told where its Temporal is: environment variables in, clients out. What a
//! process does with them, and its own settings, are in `worker` and `api`.
//!
//! - [`variable`]: one environment variable: what it means, and reading it, with an error that names it and shows an example
//! - [`shared`]: those that worker and api read alike
//! - [`temporal`]: the standard `TEMPORAL_*`

pub mod shared;
pub mod temporal;
pub mod variable;

pub use variable::{InvalidVariable, Variable};
