//! Darkroom as a whole. The parts are libraries of their own (`workflows`, `activities`, `worker`, `api`); what is here
//! puts them on one machine, for a first look and for tests.

#[cfg(feature = "dev")]
pub mod dev;
