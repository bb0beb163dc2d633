//! Environment variables that worker and api both read.

use crate::Variable;

/// Public URL of the api, for callers and for the provider's webhooks.
pub const DARKROOM_PUBLIC_URL: Variable = Variable::new("DARKROOM_PUBLIC_URL", "https://darkroom.example.com")
    .otherwise("api: its address; worker: none")
    .about("public URL of the api, for callers and for the provider; with Replicate it must be https. Without it on the worker, a submission whose answer was lost cannot be found again and ends as `SubmissionUnknown`");

/// Key that the webhook secrets of tenants are derived from.
pub const DARKROOM_WEBHOOK_SECRET: Variable = Variable::new("DARKROOM_WEBHOOK_SECRET", "whsec_…")
    .about("`whsec_…`, a key in base64 that the webhook secrets of tenants are derived from, or `new,old` during a rotation: both sign; without it no webhooks are sent");

/// Address of the listener for Prometheus and for an orchestrator's probes.
pub const METRICS_LISTEN: Variable = Variable::new("METRICS_LISTEN", "0.0.0.0:9464").about(
    "`host:port` for `/metrics`, `/healthz` and `/readyz`, on a port apart from that of callers",
);

/// All shared variables.
pub const VARIABLES: [Variable; 3] = [DARKROOM_PUBLIC_URL, DARKROOM_WEBHOOK_SECRET, METRICS_LISTEN];
