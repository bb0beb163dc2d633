//! Tests of the whole system from outside: real servers and real processes, driven through HTTP.
//! They are one binary, so that most of them share one stack. Tests that kill, stop or reconfigure
//! a server start a stack of their own.
//!
//! - [`support`]: stacks, clients, and the faulty servers between them; read this first
//! - [`jobs`], [`outputs`], [`previews`]: a job from its request to its stored outputs
//! - [`answers`], [`reports`], [`limits`]: the provider's answers, webhooks and rate limits
//! - [`canceling`], [`retries`], [`deleting`], [`sweeping`]: cancellation, retry, deletion, expiry
//!   and the storage sweep
//! - [`http`]: the HTTP facade, endpoint by endpoint
//! - [`caller`], [`first_look`]: the command line
//! - [`uploads`], [`stores`], [`bad_sources`], [`credentials`], [`http2`]: downloads from the
//!   provider and uploads to S3
//! - [`tenants`]: fairness between tenants
//! - [`durability`], [`outages`], [`restores`]: killed workers, servers that are down, and a
//!   restored Temporal database
//! - [`doubts`], [`unshown`], [`kill_points`], [`resets`]: submissions in doubt, those that no
//!   search has shown, and every point of a purchase at which something can fail
//! - [`faults`], [`leftovers`]: faults at random moments
//! - [`queries`], [`histories`], [`upgrade`]: queries, replay, and workers of two builds
//! - [`workarounds`]: faults of Temporal's SDK that are worked around
//! - [`metrics`], [`telemetry`]: Prometheus metrics, traces and logs
//! - [`production`], [`operations`], [`runbook`], [`deployment`]: the production stack, the lines
//!   of `docs/operations.md`, and the files that deploy it
//! - [`bad_input`], [`documentation`]: malformed environments, and links in the documentation
//! - [`examples`]: the programs of `examples/`

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot continue should say where"
)]

mod answers;
mod bad_input;
mod bad_sources;
mod caller;
mod canceling;
mod credentials;
mod deleting;
mod deployment;
mod documentation;
mod doubts;
mod durability;
mod examples;
mod faults;
mod first_look;
mod histories;
mod http;
mod http2;
mod jobs;
mod kill_points;
mod leftovers;
mod limits;
mod metrics;
mod operations;
mod outages;
mod outputs;
mod previews;
mod production;
mod queries;
mod reports;
mod resets;
mod restores;
mod retries;
mod runbook;
mod stores;
mod support;
mod sweeping;
mod telemetry;
mod tenants;
mod unshown;
mod upgrade;
mod uploads;
mod workarounds;
