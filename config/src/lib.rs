//! How a Darkroom process is told where its Temporal is: environment variables in, clients out. What a
//! process does with them, and its own settings, are in `worker` and `api`.
//!
//! - [`variable`]: reading one environment variable, with an error that names it and shows an example
//! - [`temporal`]: the standard `TEMPORAL_*`

pub mod temporal;
pub mod variable;

pub use variable::{InvalidVariable, Variable};
