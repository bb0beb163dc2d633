//! The HTTP facade as callers meet it.

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
