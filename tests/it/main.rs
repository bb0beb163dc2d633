//! The whole system from outside: real servers, real processes, through HTTP. One binary, so that most tests share one
//! stack; those that kill things have one of their own.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
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
mod upgrade;
mod uploads;
