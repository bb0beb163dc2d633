//! The shapes of bodies, for the documentation. What is read and written is made elsewhere, from the types that the rest of
//! Darkroom works with; tests hold the two together.

use std::collections::HashMap;

use poem_openapi::{
    Enum, Object,
    types::{Any, Example, ParseFromJSON},
};
use serde_json::{Map, Value};

/// A request for media.
#[derive(Object)]
#[oai(example, deny_unknown_fields)]
pub(crate) struct JobRequest {
    /// The model to call: `owner/name`, `owner/name:version`, or a version alone.
    #[oai(validator(
        pattern = "^([0-9a-f]{64}|(deployments/)?[A-Za-z0-9._-]{1,64}/[A-Za-z0-9._-]{1,64}(:[A-Za-z0-9._-]{1,64})?)$"
    ))]
    model: String,
    /// What to make. Not every model takes words: where there is an `input`, it may be absent.
    #[oai(validator(min_length = 1, max_length = 10_000))]
    prompt: Option<String>,
    /// How many files to ask the provider for.
    #[oai(
        default = "one",
        validator(minimum(value = "1"), maximum(value = "100"))
    )]
    num_outputs: u32,
    /// Makes a generation repeatable, where the model supports it.
    seed: Option<u64>,
    /// The file format to ask the provider for; the model's own default if absent.
    output_format: Option<OutputFormat>,
    /// How long the job may take from when it was accepted; as long as it takes if absent.
    #[oai(validator(minimum(value = "1"), maximum(value = "604800")))]
    deadline_seconds: Option<u32>,
    /// How long after its end the job is deleted, with all that it has stored; as the operator has set it if absent.
    #[oai(validator(minimum(value = "1"), maximum(value = "316224000")))]
    expire_after_seconds: Option<u32>,
    /// How soon the job is to be worked on beside others: 3 is usual, 4 and 5 are later.
    #[oai(
        default = "usual",
        validator(minimum(value = "3"), maximum(value = "5"))
    )]
    priority: u32,
    /// Further inputs, passed to the model as they are: at most 262,144 bytes. What has a field of its own here, as
    /// `num_outputs`, is refused in it.
    #[oai(default = "no_inputs")]
    input: Any<Map<String, Value>>,
    /// Labels of your own, returned as they came: at most 50 keys of 1 to 40 characters, with values of at most 500.
    #[oai(default)]
    metadata: HashMap<String, String>,
    /// Where to tell how the job ended: an `http` or `https` URL. See *Webhooks*.
    #[oai(validator(max_length = 2048))]
    webhook_url: Option<String>,
    /// Which ends to tell of; all if absent.
    #[oai(default = "all_events", validator(min_items = 1))]
    webhook_events: Vec<WebhookEvent>,
}

fn all_events() -> Vec<WebhookEvent> {
    vec![
        WebhookEvent::Completed,
        WebhookEvent::Partial,
        WebhookEvent::Failed,
        WebhookEvent::Canceled,
    ]
}

fn usual() -> u32 {
    3
}

fn no_inputs() -> Any<Map<String, Value>> {
    Any(Map::new())
}

fn one() -> u32 {
    1
}

/// A job.
#[derive(Object)]
#[oai(example)]
pub(crate) struct Job {
    /// The job's id, and that of its Temporal workflow.
    job_id: String,
    /// Where it stands.
    status: JobStatus,
    /// What an unfinished job is busy with.
    stage: Option<Stage>,
    /// Whether the state may be behind the truth, as no worker could be asked.
    stale: bool,
    model: String,
    prompt: Option<String>,
    num_outputs: u32,
    seed: Option<u64>,
    output_format: Option<OutputFormat>,
    deadline_seconds: Option<u32>,
    /// How long after its end the job is deleted; it stays if null.
    expire_after_seconds: Option<u32>,
    priority: u32,
    input: Any<Map<String, Value>>,
    metadata: HashMap<String, String>,
    webhook_url: Option<String>,
    webhook_events: Vec<WebhookEvent>,
    /// The outputs, by position, the first 100 of them; empty until the provider has made them.
    media: Vec<Media>,
    /// What `cursor` to list further outputs with; null if there are none.
    media_next_cursor: Option<String>,
    media_counts: MediaCounts,
    /// The provider's side of it, from the purchase on.
    provider: Option<Provider>,
    /// Since when the provider may have work of the job's that nobody has found: its answer is lost.
    in_doubt_since: Option<String>,
    /// Why the job is not `completed`.
    error: Option<JobError>,
    /// The same in words.
    error_message: Option<String>,
    /// How often the job was taken up again.
    retry_count: u32,
    created_at: String,
    updated_at: String,
    started_at: Option<String>,
    completed_at: Option<String>,
    /// When the job is deleted; null while it has not ended, and if it stays.
    expires_at: Option<String>,
    links: Links,
}

/// Where a job stands.
#[derive(Enum)]
#[oai(rename_all = "lowercase")]
pub(crate) enum JobStatus {
    /// Accepted; nothing was asked of the provider yet.
    Pending,
    /// Under way.
    Processing,
    /// Every output is stored.
    Completed,
    /// Some outputs are stored, some could not be.
    Partial,
    /// Nothing is stored.
    Failed,
    /// Ended by request; what was stored by then stays.
    Canceled,
}

/// What an unfinished job is busy with.
#[derive(Enum)]
#[oai(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// Waits for its turn at the provider.
    Queued,
    /// The provider has it.
    Generating,
    /// The provider may have it: the answer to its submission is lost, and it is looked for.
    Reconciling,
    /// Outputs are moved into the store.
    Persisting,
    /// The manifest is written.
    Finalizing,
}

/// A file format.
#[derive(Enum)]
#[oai(rename_all = "lowercase")]
pub(crate) enum OutputFormat {
    Jpg,
    Png,
    Webp,
    Gif,
    Mp4,
    Webm,
    Mp3,
    Wav,
    Glb,
}

/// How a job ended.
#[derive(Enum)]
pub(crate) enum WebhookEvent {
    #[oai(rename = "job.completed")]
    Completed,
    #[oai(rename = "job.partial")]
    Partial,
    #[oai(rename = "job.failed")]
    Failed,
    #[oai(rename = "job.canceled")]
    Canceled,
}

/// One output.
#[derive(Object)]
pub(crate) struct Media {
    /// Its position among the provider's outputs, from 0.
    index: u32,
    /// Where in the provider's answer it stands, such as `vocals` or `stems[0].url`, where that is more than its position.
    name: Option<String>,
    status: MediaStatus,
    /// Leads to the output for as long as the job is known.
    media_url: Option<String>,
    /// Its key in the bucket.
    s3_key: Option<String>,
    /// Leads to the output for 45 minutes at least, for whoever has it.
    presigned_media_url: Option<String>,
    /// Its type, told from its first bytes.
    content_type: Option<String>,
    /// Its length in bytes.
    size: Option<u64>,
    /// How many bytes of an output on its way have come so far.
    bytes_done: Option<u64>,
    /// How many there are, if it is known.
    bytes_total: Option<u64>,
    /// The SHA-256 of its bytes in hexadecimal.
    sha256: Option<String>,
    /// The width of a picture or a video in pixels, where it can be told.
    width: Option<u32>,
    /// Its height in pixels.
    height: Option<u32>,
    /// The length of an MP4 or a MOV in milliseconds.
    duration_ms: Option<u64>,
    /// Whether it carries Content Credentials (C2PA), which are stored as they are and not verified.
    c2pa: Option<bool>,
    /// How many attempts it took.
    attempts: Option<u32>,
    /// Why it could not be stored.
    error: Option<JobError>,
    /// The same in words.
    error_message: Option<String>,
    started_at: Option<String>,
    completed_at: Option<String>,
}

/// How many outputs there are, and how many of them stand how.
#[derive(Object)]
pub(crate) struct MediaCounts {
    total: u32,
    pending: u32,
    completed: u32,
    failed: u32,
    canceled: u32,
}

/// Some outputs of a job, and where there are more.
#[derive(Object)]
#[oai(example)]
pub(crate) struct MediaPage {
    media: Vec<Media>,
    /// What `cursor` to ask for the next page with; null on the last.
    next_cursor: Option<String>,
}

/// Where an output stands.
#[derive(Enum)]
#[oai(rename_all = "lowercase")]
pub(crate) enum MediaStatus {
    Pending,
    Completed,
    Failed,
    Canceled,
}

/// What is known of the provider's side of a job.
#[derive(Object)]
pub(crate) struct Provider {
    /// Which provider.
    name: String,
    /// The provider's own id of its work; null while a submission is in doubt.
    prediction_id: Option<String>,
    /// The provider's last word on it; null while a submission is in doubt.
    status: Option<String>,
    /// What the provider did about a request to cancel, if there was one: `canceled`, `too_late` or `unknown`.
    cancel_outcome: Option<String>,
    /// When the provider took it, by the provider's clock, as the times below.
    created_at: Option<String>,
    /// When the provider began to work on it.
    started_at: Option<String>,
    /// When the provider was done with it.
    completed_at: Option<String>,
    /// When the provider removes the outputs.
    expires_at: Option<String>,
    /// The provider's own words on a failure.
    error: Option<String>,
    /// How many outputs it made, those included that it withheld; `num_outputs` were asked for.
    outputs_made: Option<u32>,
    /// What it answered beside its files, each of which is `{"media": index}` here; null if there is nothing else, or over 64 KiB.
    output: Option<Any<Value>>,
    /// What the provider measured, as it says it.
    metrics: Any<Map<String, Value>>,
}

/// Why something failed.
#[derive(Object)]
pub(crate) struct JobError {
    /// What went wrong: one of a stable set of names, such as `ProviderRejected` or `SourceExpired`.
    #[oai(rename = "type")]
    kind: String,
    /// The same in words.
    detail: String,
    /// Whether trying again may help.
    retryable: bool,
}

/// Where to go from a job.
#[derive(Object)]
pub(crate) struct Links {
    #[oai(rename = "self")]
    this: String,
    media: String,
    events: String,
    cancel: String,
    retry: String,
    webhooks: String,
    /// The workflow in the Temporal UI, where that is configured.
    temporal: Option<String>,
}

/// One event of a stream.
#[derive(Object)]
#[oai(example)]
pub(crate) struct JobEvent {
    /// The `ETag` of the job in this state: what to send as `Last-Event-ID`.
    id: String,
    /// `job`.
    event: String,
    /// The job, as JSON.
    data: String,
}

/// Some jobs, and where there are more.
#[derive(Object)]
#[oai(example)]
pub(crate) struct JobPage {
    /// The unfinished ones first, newest first; then those that have ended, the last one first.
    jobs: Vec<JobSummary>,
    /// What `cursor` to ask for the next page with; absent on the last.
    next_cursor: Option<String>,
}

/// A job in a list.
#[derive(Object)]
pub(crate) struct JobSummary {
    job_id: String,
    /// Where it stood a moment ago; jobs that wait for their turn are listed as `processing`.
    status: JobStatus,
    model: String,
    created_at: String,
    completed_at: Option<String>,
    links: SummaryLinks,
}

/// Where to go from a job in a list.
#[derive(Object)]
pub(crate) struct SummaryLinks {
    #[oai(rename = "self")]
    this: String,
}

/// A job that is being deleted.
#[derive(Object)]
#[oai(example)]
pub(crate) struct Deletion {
    job_id: String,
    /// Whether the bucket keeps earlier versions of what is removed: they stay until its own rules remove them. Null if the
    /// store does not say.
    keeps_versions: Option<bool>,
}

/// Whether to pay again.
#[derive(Object)]
#[oai(example, deny_unknown_fields)]
pub(crate) struct RetryRequest {
    /// Have the outputs made again, and pay for them again.
    #[oai(default)]
    regenerate: bool,
}

/// What was sent of a job's end, and what came of it.
#[derive(Object)]
#[oai(example)]
pub(crate) struct WebhookDeliveries {
    /// One for each end that was told of: a job that was taken up again has several, the latest first.
    deliveries: Vec<WebhookDelivery>,
}

/// One message, and what came of it.
#[derive(Object)]
#[oai(example)]
pub(crate) struct WebhookDelivery {
    /// The message's id: `webhook-id`.
    message_id: String,
    event: WebhookEvent,
    url: String,
    status: DeliveryStatus,
    /// The attempts, the latest last.
    attempts: Vec<DeliveryAttempt>,
    /// When the next one is due.
    next_attempt_at: Option<String>,
}

/// Where a delivery stands.
#[derive(Enum)]
#[oai(rename_all = "lowercase")]
pub(crate) enum DeliveryStatus {
    /// There will be another attempt.
    Pending,
    /// The receiver has it.
    Delivered,
    /// The receiver answered `410`, or its address is not one that is connected to.
    Refused,
    /// Three days of attempts were in vain.
    Exhausted,
}

/// One attempt.
#[derive(Object)]
pub(crate) struct DeliveryAttempt {
    at: String,
    duration_ms: Option<u64>,
    response_status: Option<u16>,
    /// Why it was in vain, if it was.
    error: Option<String>,
}

/// What signs webhooks to you.
#[derive(Object)]
#[oai(example)]
pub(crate) struct WebhookSecret {
    /// `whsec_` and a key in base64, as the Standard Webhooks libraries take it.
    key: String,
}

/// A problem, as RFC 9457 has it.
#[derive(Object)]
#[oai(example)]
pub(crate) struct Problem {
    /// Which kind of problem: a stable URI.
    #[oai(rename = "type")]
    kind: String,
    /// The kind in words.
    title: String,
    status: u16,
    /// What is wrong this time, and what can be done about it.
    detail: String,
    /// The path at which it happened.
    instance: Option<String>,
    /// The request's id, which the log has as well.
    request_id: Option<String>,
    /// Places in the body that are not acceptable.
    errors: Option<Vec<FieldError>>,
}

/// What is wrong with one place of a body.
#[derive(Object)]
pub(crate) struct FieldError {
    /// A JSON pointer to the place.
    pointer: String,
    detail: String,
}

/// An example that is kept as JSON.
macro_rules! example {
    ($type:ident $file:literal) => {
        impl Example for $type {
            // The example is part of the program, and a test reads it.
            fn example() -> Self {
                let value = serde_json::from_str(include_str!(concat!("examples/", $file)))
                    .expect("the example is JSON");
                Self::parse_from_json(Some(value))
                    .ok()
                    .expect("the example is of its type")
            }
        }
    };
}

example!(JobRequest "job_request.json");
example!(Job "job.json");
example!(JobPage "job_page.json");
example!(MediaPage "media_page.json");
example!(Deletion "deletion.json");
example!(RetryRequest "retry_request.json");
example!(JobEvent "job_event.json");
example!(WebhookDeliveries "webhook_deliveries.json");
example!(WebhookDelivery "webhook_delivery.json");
example!(WebhookSecret "webhook_secret.json");
example!(Problem "problem.json");
