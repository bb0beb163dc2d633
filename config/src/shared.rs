//! Variables that worker and api read alike.

use crate::Variable;

/// Where callers and the provider reach the api.
pub const DARKROOM_PUBLIC_URL: Variable = Variable::new("DARKROOM_PUBLIC_URL", "https://darkroom.example.com")
    .otherwise("api: its address; worker: none")
    .about("where callers and the provider reach the api; with Replicate it must be https. Without it on the worker, a submission whose answer was lost cannot be found again and ends as `SubmissionUnknown`");

/// What the webhook secrets of tenants are made of.
pub const DARKROOM_WEBHOOK_SECRET: Variable = Variable::new("DARKROOM_WEBHOOK_SECRET", "whsec_…")
    .about("`whsec_…`, a key in base64: what the tenants' webhook secrets are made of, or `new,old`: both sign; without it none is sent");

/// Where Prometheus and an orchestrator ask.
pub const METRICS_LISTEN: Variable = Variable::new("METRICS_LISTEN", "0.0.0.0:9464")
    .about("`host:port` for `/metrics`, `/healthz` and `/readyz`, apart from callers");

/// All of them.
pub const VARIABLES: [Variable; 3] = [DARKROOM_PUBLIC_URL, DARKROOM_WEBHOOK_SECRET, METRICS_LISTEN];
