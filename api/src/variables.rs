//! Environment variables of the api, beside those of every process.

use darkroom_config::Variable;

pub(crate) const DARKROOM_LISTEN: Variable = Variable::new("DARKROOM_LISTEN", "127.0.0.1:8080")
    .defaults_to("127.0.0.1:8080")
    .about("where to listen; beyond loopback only with keys");
pub(crate) const DARKROOM_API_KEYS: Variable = Variable::new("DARKROOM_API_KEYS", "acme:0123…cdef")
    .about("`tenant:sha256hex,…`: who may call, by the SHA-256 of their keys; with `:admin` after it, who gives out keys of that tenant, with `:operator`, of all");
pub(crate) const DARKROOM_ALLOW_ANONYMOUS: Variable =
    Variable::new("DARKROOM_ALLOW_ANONYMOUS", "true")
        .defaults_to("false")
        .about("listen beyond loopback although nobody is asked who they are");
pub(crate) const DARKROOM_REQUESTS_PER_SECOND: Variable = Variable::new("DARKROOM_REQUESTS_PER_SECOND", "100")
    .defaults_to("100")
    .about("how many requests a tenant may make, with all of its keys; and an address without a key, for `/readyz`, `/docs` and the like");
pub(crate) const DARKROOM_API_PROCESSES: Variable = Variable::new("DARKROOM_API_PROCESSES", "3")
    .defaults_to("1")
    .about("how many api processes serve together: requests and lists a second are divided among them. Ten questions a second, which a Temporal server answers of its visibility store by default, carry three apis: one asks 1.4 a second for those who follow jobs, and all together five for lists");
pub(crate) const DARKROOM_OPEN_JOBS: Variable = Variable::new("DARKROOM_OPEN_JOBS", "10000")
    .defaults_to("10000")
    .about("how many jobs of a tenant may be open; counted twice a minute, and each second near the limit, so that several api processes may each admit as many until then: with 5, two processes admit 10 at most, and none once they have counted");
pub(crate) const DARKROOM_EXPIRE_AFTER_SECONDS: Variable = Variable::new(
    "DARKROOM_EXPIRE_AFTER_SECONDS",
    "2592000",
)
.about(
    "how long after their end jobs are deleted that do not say so themselves; they stay without it",
);
pub(crate) const DARKROOM_CORS_ORIGINS: Variable =
    Variable::new("DARKROOM_CORS_ORIGINS", "https://app.example.com")
        .about("`https://…,…`: whose pages may call");
pub(crate) const DARKROOM_CONNECTIONS: Variable = Variable::new("DARKROOM_CONNECTIONS", "4096")
    .defaults_to("4096")
    .about(
        "how many connections to hold, if the system has files for them; of one address, an eighth",
    );
pub(crate) const DARKROOM_TRUSTED_PROXIES: Variable = Variable::new("DARKROOM_TRUSTED_PROXIES", "10.0.0.0/8")
    .defaults_to("127.0.0.0/8,::1/128")
    .about("addresses and networks of proxies, or `none`: the last address in their `X-Forwarded-For` that is none of them says who calls. By that, or by the address itself, requests without a key are limited, as those of a tenant are, and connections, and bodies on their way. Name your load balancer here, or all who come through it are one");
pub(crate) const DARKROOM_PAGE: Variable = Variable::new("DARKROOM_PAGE", "false")
    .defaults_to("true")
    .about("serve the page at `/`; without it `/` leads to `/docs`");
pub(crate) const DARKROOM_TEMPORAL_UI: Variable =
    Variable::new("DARKROOM_TEMPORAL_UI", "http://127.0.0.1:8233")
        .about("the base of links into the Temporal UI");
pub(crate) const REPLICATE_WEBHOOK_SECRET: Variable = Variable::new("REPLICATE_WEBHOOK_SECRET", "whsec_…")
    .about("`whsec_…`, what the provider signs its reports with, or `new,old`: either is believed; without it, or without `DARKROOM_PUBLIC_URL`, predictions are polled");

/// All variables of the api.
pub const VARIABLES: [Variable; 13] = [
    DARKROOM_LISTEN,
    DARKROOM_API_KEYS,
    DARKROOM_ALLOW_ANONYMOUS,
    DARKROOM_REQUESTS_PER_SECOND,
    DARKROOM_API_PROCESSES,
    DARKROOM_OPEN_JOBS,
    DARKROOM_EXPIRE_AFTER_SECONDS,
    DARKROOM_CORS_ORIGINS,
    DARKROOM_CONNECTIONS,
    DARKROOM_TRUSTED_PROXIES,
    DARKROOM_PAGE,
    DARKROOM_TEMPORAL_UI,
    REPLICATE_WEBHOOK_SECRET,
];
