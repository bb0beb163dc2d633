//! The HTTP facade, tested through its endpoints.
//!
//! - [`reading`], [`listing`], [`events`], [`feed`]: reading jobs: conditional requests, long
//!   polls, lists, and server-sent events of one job or of all
//! - [`idempotency`], [`bad_requests`]: creating jobs
//! - [`webhooks`]: notifying callers
//! - [`access`], [`keys`], [`open_jobs`], [`peers`]: tenants, API keys and limits
//! - [`listener`], [`readiness`]: connections, graceful shutdown, and readiness
//! - [`document`], [`page`]: `/openapi.json` and the web page
//! - [`sse`]: a reader of server-sent events for these tests

mod access;
mod bad_requests;
mod document;
mod events;
mod feed;
mod idempotency;
mod keys;
mod listener;
mod listing;
mod open_jobs;
mod page;
mod peers;
mod readiness;
mod reading;
mod sse;
mod webhooks;
