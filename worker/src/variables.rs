//! Environment variables of the worker, beside those that every process reads
//! (`darkroom_config::shared`, `darkroom_storage::variables`).

use darkroom_config::Variable;

pub(crate) const REPLICATE_API_TOKEN: Variable = Variable::new("REPLICATE_API_TOKEN", "r8_…")
    .otherwise("required")
    .about("the provider's token");
pub(crate) const REPLICATE_BASE_URL: Variable =
    Variable::new("REPLICATE_BASE_URL", "https://api.replicate.com/v1")
        .defaults_to("https://api.replicate.com/v1")
        .about("the provider's API, `/v1` included");
pub(crate) const SUBMISSION_UNKNOWN: Variable = Variable::new("SUBMISSION_UNKNOWN", "fail")
    .defaults_to("fail")
    .about("`resubmit` submits again when nobody can tell whether the provider has the work, and may pay twice");
pub(crate) const SUBMISSION_SEARCH_SECONDS: Variable =
    Variable::new("SUBMISSION_SEARCH_SECONDS", "900")
        .defaults_to("900")
        .about("for how long a submission is looked for whose answer is lost");
pub(crate) const DARKROOM_DOUBT_BEFORE: Variable = Variable::new("DARKROOM_DOUBT_BEFORE", "2026-11-26T06:00:00Z,2026-11-26T06:20:00Z")
    .about("after a restore of Temporal's database, the times of the dump and of the restore with a comma between: jobs from before look for what they may have bought in between");
pub(crate) const LONGEST_GENERATION_SECONDS: Variable = Variable::new(
    "LONGEST_GENERATION_SECONDS",
    "3600",
)
.defaults_to("86400")
.about(
    "when the provider is to stop a prediction by itself, if its job has no deadline: 5 to 86400",
);
pub(crate) const REPLICATE_CREATES_PER_MINUTE: Variable = Variable::new("REPLICATE_CREATES_PER_MINUTE", "600")
    .otherwise("600 at Replicate")
    .about("how many predictions the provider is asked for, by all workers together; slowed down by itself where the provider allows less");
pub(crate) const REPLICATE_READS_PER_MINUTE: Variable =
    Variable::new("REPLICATE_READS_PER_MINUTE", "3000")
        .otherwise("3000 at Replicate")
        .about("how often the provider is asked anything else");
pub(crate) const WORKER_QUEUES: Variable = Variable::new("WORKER_QUEUES", "generate,persist")
    .defaults_to("generate,persist")
    .about("which task queues to serve: `generate`, `persist` or both");
pub(crate) const WORKFLOW_TASK_CONCURRENCY: Variable =
    Variable::new("WORKFLOW_TASK_CONCURRENCY", "4")
        .defaults_to("4")
        .about("how many workflow tasks Temporal is asked to complete at a time, 2 at least: few leave more of it to callers, more help where it is far away");
pub(crate) const GENERATE_CONCURRENCY: Variable = Variable::new("GENERATE_CONCURRENCY", "1000")
    .defaults_to("1000")
    .about("how many predictions are bought, and how many read, at a time");
pub(crate) const PERSIST_CONCURRENCY: Variable = Variable::new("PERSIST_CONCURRENCY", "32")
    .otherwise("32, or as many as PERSIST_MEMORY is enough for")
    .about("how many outputs move at a time, those that crawl not counted");
pub(crate) const PERSIST_MEMORY: Variable = Variable::new("PERSIST_MEMORY", "128MiB")
    .defaults_to("128MiB")
    .about("the memory of all outputs on their way, together, 32 MiB at least: 4 MiB for each that moves at least; more outputs at a time take longer, not more");
pub(crate) const PERSIST_STREAM_MAX: Variable = Variable::new("PERSIST_STREAM_MAX", "256MiB")
    .defaults_to("256MiB")
    .about("the longest output that goes to the store in one request; longer ones go in parts");
pub(crate) const MAX_OUTPUT_BYTES: Variable = Variable::new("MAX_OUTPUT_BYTES", "2GiB")
    .defaults_to("2GiB")
    .about("the longest output that is taken");
pub(crate) const SOURCE_PORTS: Variable = Variable::new("SOURCE_PORTS", "80,443")
    .defaults_to("80,443")
    .about("the ports that outputs may be fetched from");
pub(crate) const SOURCE_ALLOW: Variable = Variable::new("SOURCE_ALLOW", "files.internal:8443")
    .about("`host:port,…`: hosts that outputs may be fetched from although their addresses are private");
pub(crate) const WEBHOOK_PORTS: Variable = Variable::new("WEBHOOK_PORTS", "80,443")
    .defaults_to("80,443")
    .about("as `SOURCE_PORTS`, for webhooks");
pub(crate) const WEBHOOK_ALLOW: Variable =
    Variable::new("WEBHOOK_ALLOW", "hooks.internal:8443").about("as `SOURCE_ALLOW`, for webhooks");
pub(crate) const WORKER_DEPLOYMENT: Variable = Variable::new("WORKER_DEPLOYMENT", "darkroom")
    .about("[Worker Versioning](docs/operations.md#upgrade): the deployment that decides which build gets work; without one, every worker gets any");
pub(crate) const WORKER_BUILD_ID: Variable = Variable::new("WORKER_BUILD_ID", "0.1.0+3f2a9c1")
    .otherwise("the version")
    .about("what this build is called");
pub(crate) const WORKER_HEARTBEAT_SECONDS: Variable = Variable::new("WORKER_HEARTBEAT_SECONDS", "10")
    .defaults_to("10")
    .about("how often each worker tells Temporal that it lives, 1 to 30 seconds: after three missed ones it counts as gone");
pub(crate) const WORKER_RENEW_AFTER: Variable = Variable::new("WORKER_RENEW_AFTER", "20000")
    .defaults_to("20000")
    .about("after how many activities the SDK's worker is renewed: it keeps some bytes of each");

/// All variables of the worker, in the order of the printed table.
pub const VARIABLES: [Variable; 23] = [
    REPLICATE_API_TOKEN,
    REPLICATE_BASE_URL,
    SUBMISSION_UNKNOWN,
    SUBMISSION_SEARCH_SECONDS,
    DARKROOM_DOUBT_BEFORE,
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
    WORKER_RENEW_AFTER,
];
