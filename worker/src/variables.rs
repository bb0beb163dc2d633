//! Environment variables of the worker, beside those that every process reads
//! (`darkroom_config::shared`, `darkroom_storage::variables`).

use darkroom_config::Variable;

pub(crate) const REPLICATE_API_TOKEN: Variable = Variable::new("REPLICATE_API_TOKEN", "r8_…")
    .otherwise("required")
    .about("API token of the provider");
pub(crate) const REPLICATE_BASE_URL: Variable =
    Variable::new("REPLICATE_BASE_URL", "https://api.replicate.com/v1")
        .defaults_to("https://api.replicate.com/v1")
        .about("base URL of the provider's API, `/v1` included");
pub(crate) const SUBMISSION_UNKNOWN: Variable = Variable::new("SUBMISSION_UNKNOWN", "fail")
    .defaults_to("fail")
    .about(
        "policy for a submission that stays in doubt: `fail`, or `resubmit`, which may pay twice",
    );
pub(crate) const SUBMISSION_SEARCH_SECONDS: Variable =
    Variable::new("SUBMISSION_SEARCH_SECONDS", "900")
        .defaults_to("900")
        .about("how long a submission in doubt is searched for at the provider");
pub(crate) const DARKROOM_LOST_TIME: Variable = Variable::new("DARKROOM_LOST_TIME", "2026-11-26T06:00:00Z,2026-11-26T06:20:00Z")
    .about("set after a restore of Temporal's database: the times of the dump and of the restore, separated by a comma. Jobs from before it search the provider for what they may have bought in between, before they submit");
pub(crate) const LONGEST_GENERATION_SECONDS: Variable = Variable::new(
    "LONGEST_GENERATION_SECONDS",
    "3600",
)
.defaults_to("86400")
.about(
    "limit that the provider puts on a prediction (`Cancel-After`) whose job has no deadline: 5 to 86400",
);
pub(crate) const REPLICATE_CREATES_PER_MINUTE: Variable = Variable::new("REPLICATE_CREATES_PER_MINUTE", "600")
    .otherwise("600 at Replicate")
    .about("rate limit of predictions, for all workers together; lowered automatically while the provider allows less");
pub(crate) const REPLICATE_READS_PER_MINUTE: Variable =
    Variable::new("REPLICATE_READS_PER_MINUTE", "3000")
        .otherwise("3000 at Replicate")
        .about("rate limit of all other calls to the provider, for all workers together");
pub(crate) const WORKER_QUEUES: Variable = Variable::new("WORKER_QUEUES", "generate,persist")
    .defaults_to("generate,persist")
    .about("task queues to poll: `generate`, `persist` or both");
pub(crate) const WORKFLOW_TASK_CONCURRENCY: Variable =
    Variable::new("WORKFLOW_TASK_CONCURRENCY", "4")
        .defaults_to("4")
        .about("slots for workflow tasks, 2 at least: a low value leaves more of a small Temporal to callers, a high one helps if Temporal is far away");
pub(crate) const GENERATE_CONCURRENCY: Variable = Variable::new("GENERATE_CONCURRENCY", "1000")
    .defaults_to("1000")
    .about("slots for submissions, and as many for reads");
pub(crate) const PERSIST_CONCURRENCY: Variable = Variable::new("PERSIST_CONCURRENCY", "32")
    .otherwise("32, or as many as PERSIST_MEMORY is enough for")
    .about("slots for outputs; slow ones are not counted");
pub(crate) const PERSIST_MEMORY: Variable = Variable::new("PERSIST_MEMORY", "128MiB")
    .defaults_to("128MiB")
    .about("memory of all outputs under way together, 32 MiB at least, and 4 MiB for each slot; more outputs at a time take longer, not more memory");
pub(crate) const PERSIST_STREAM_MAX: Variable = Variable::new("PERSIST_STREAM_MAX", "256MiB")
    .defaults_to("256MiB")
    .about(
        "largest output that goes to the store in one request; larger ones use a multipart upload",
    );
pub(crate) const MAX_OUTPUT_BYTES: Variable = Variable::new("MAX_OUTPUT_BYTES", "2GiB")
    .defaults_to("2GiB")
    .about("largest output that is accepted");
pub(crate) const SOURCE_PORTS: Variable = Variable::new("SOURCE_PORTS", "80,443")
    .defaults_to("80,443")
    .about("ports that outputs may be fetched from");
pub(crate) const SOURCE_ALLOW: Variable = Variable::new("SOURCE_ALLOW", "files.internal:8443")
    .about("`host:port,…`: hosts that outputs may be fetched from although their addresses are private");
pub(crate) const WEBHOOK_PORTS: Variable = Variable::new("WEBHOOK_PORTS", "80,443")
    .defaults_to("80,443")
    .about("as `SOURCE_PORTS`, for webhooks");
pub(crate) const WEBHOOK_ALLOW: Variable =
    Variable::new("WEBHOOK_ALLOW", "hooks.internal:8443").about("as `SOURCE_ALLOW`, for webhooks");
pub(crate) const WORKER_DEPLOYMENT: Variable = Variable::new("WORKER_DEPLOYMENT", "darkroom")
    .about("[Worker Versioning](docs/operations.md#upgrade): the worker deployment, whose current version gets the work; without one, workers are unversioned");
pub(crate) const WORKER_BUILD_ID: Variable = Variable::new("WORKER_BUILD_ID", "0.1.0+3f2a9c1")
    .otherwise("the version")
    .about("build id, for histories and for Worker Versioning");
pub(crate) const WORKER_HEARTBEAT_SECONDS: Variable = Variable::new("WORKER_HEARTBEAT_SECONDS", "10")
    .defaults_to("10")
    .about("interval of worker heartbeats, 1 to 30 seconds: after three missed ones a worker counts as gone");
pub(crate) const WORKER_RECYCLE_AFTER: Variable = Variable::new("WORKER_RECYCLE_AFTER", "20000")
    .defaults_to("20000")
    .about("activities after which the SDK's worker is recycled, as it leaks some bytes for each");

/// All variables of the worker, in the order of the printed table.
pub const VARIABLES: [Variable; 23] = [
    REPLICATE_API_TOKEN,
    REPLICATE_BASE_URL,
    SUBMISSION_UNKNOWN,
    SUBMISSION_SEARCH_SECONDS,
    DARKROOM_LOST_TIME,
    LONGEST_GENERATION_SECONDS,
    REPLICATE_CREATES_PER_MINUTE,
    REPLICATE_READS_PER_MINUTE,
    WORKER_QUEUES,
    WORKFLOW_TASK_CONCURRENCY,
    GENERATE_CONCURRENCY,
    PERSIST_CONCURRENCY,
    PERSIST_MEMORY,
    PERSIST_STREAM_MAX,
    MAX_OUTPUT_BYTES,
    SOURCE_PORTS,
    SOURCE_ALLOW,
    WEBHOOK_PORTS,
    WEBHOOK_ALLOW,
    WORKER_DEPLOYMENT,
    WORKER_BUILD_ID,
    WORKER_HEARTBEAT_SECONDS,
    WORKER_RECYCLE_AFTER,
];
