//! Environment variables of the api, beside those of every process.

use darkroom_config::Variable;

pub(crate) const DARKROOM_LISTEN: Variable = Variable::new("DARKROOM_LISTEN", "127.0.0.1:8080")
    .defaults_to("127.0.0.1:8080")
    .about("address to listen on; beyond loopback only with API keys");
pub(crate) const DARKROOM_API_KEYS: Variable = Variable::new("DARKROOM_API_KEYS", "acme:0123…cdef")
    .about("`tenant:sha256hex,…`: API keys by their SHA-256; with `:admin` at its end a key manages the keys of its tenant, with `:operator` those of all tenants");
pub(crate) const DARKROOM_ALLOW_ANONYMOUS: Variable = Variable::new(
    "DARKROOM_ALLOW_ANONYMOUS",
    "true",
)
.defaults_to("false")
.about("listen beyond loopback, and answer to any host name, without API keys: everyone may call");
pub(crate) const DARKROOM_REQUESTS_PER_SECOND: Variable = Variable::new("DARKROOM_REQUESTS_PER_SECOND", "100")
    .defaults_to("100")
    .about("rate limit, requests a second: of a tenant, with all of its keys, and of a client address without a key, for `/readyz`, `/docs` and the like");
pub(crate) const DARKROOM_API_PROCESSES: Variable = Variable::new("DARKROOM_API_PROCESSES", "3")
    .defaults_to("1")
    .about("number of api processes that serve together and share the rate limits of requests and lists. The ten visibility queries a second that a Temporal server allows by default are enough for three apis: each makes 1.4 a second for callers that follow jobs, and all together five for lists");
pub(crate) const DARKROOM_OPEN_JOBS: Variable = Variable::new("DARKROOM_OPEN_JOBS", "10000")
    .defaults_to("10000")
    .about("limit of open jobs of a tenant; counted twice a minute, and each second near the limit, so that several api processes may each admit as many until then: with 5, two processes admit 10 at most, and none once they have counted");
pub(crate) const DARKROOM_EXPIRE_AFTER_SECONDS: Variable = Variable::new(
    "DARKROOM_EXPIRE_AFTER_SECONDS",
    "2592000",
)
.about(
    "time from the end of a job to its deletion, for jobs that do not set one; without it, jobs stay",
);
pub(crate) const DARKROOM_CORS_ORIGINS: Variable =
    Variable::new("DARKROOM_CORS_ORIGINS", "https://app.example.com")
        .about("`https://…,…`: origins whose pages may call (CORS)");
pub(crate) const DARKROOM_CONNECTIONS: Variable = Variable::new("DARKROOM_CONNECTIONS", "4096")
    .defaults_to("4096")
    .about(
        "limit of connections, if the system has file descriptors for them; one client address may hold an eighth",
    );
pub(crate) const DARKROOM_IDLE_TIMEOUT_SECONDS: Variable = Variable::new("DARKROOM_IDLE_TIMEOUT_SECONDS", "620")
    .defaults_to("75")
    .about("idle timeout of a connection, from 61 to 3600: more than that of the load balancer in front, or it sends requests on connections that are being closed. Google Cloud's is 600, and cannot be changed");
pub(crate) const DARKROOM_TRUSTED_PROXIES: Variable = Variable::new("DARKROOM_TRUSTED_PROXIES", "10.0.0.0/8")
    .defaults_to("127.0.0.0/8,::1/128")
    .about("addresses and networks of proxies whose `X-Forwarded-For` is trusted, or `none`: the last address in it that is no trusted proxy is the client. Requests without a key, connections, and bodies under way are limited by client address. Name your load balancer here, or all clients behind it share one limit");
pub(crate) const DARKROOM_PAGE: Variable = Variable::new("DARKROOM_PAGE", "false")
    .defaults_to("true")
    .about("serve the page at `/`; without it `/` redirects to `/docs`");
pub(crate) const DARKROOM_TEMPORAL_UI: Variable =
    Variable::new("DARKROOM_TEMPORAL_UI", "http://127.0.0.1:8233")
        .about("base URL of the Temporal UI, for links");
pub(crate) const REPLICATE_WEBHOOK_SECRET: Variable = Variable::new("REPLICATE_WEBHOOK_SECRET", "whsec_…")
    .about("`whsec_…`, the secret that the provider signs its reports with, or `new,old`: either is accepted; without it, or without `DARKROOM_PUBLIC_URL`, predictions are polled");

/// All variables of the api.
pub const VARIABLES: [Variable; 14] = [
    DARKROOM_LISTEN,
    DARKROOM_API_KEYS,
    DARKROOM_ALLOW_ANONYMOUS,
    DARKROOM_REQUESTS_PER_SECOND,
    DARKROOM_API_PROCESSES,
    DARKROOM_OPEN_JOBS,
    DARKROOM_EXPIRE_AFTER_SECONDS,
    DARKROOM_CORS_ORIGINS,
    DARKROOM_CONNECTIONS,
    DARKROOM_IDLE_TIMEOUT_SECONDS,
    DARKROOM_TRUSTED_PROXIES,
    DARKROOM_PAGE,
    DARKROOM_TEMPORAL_UI,
    REPLICATE_WEBHOOK_SECRET,
];
