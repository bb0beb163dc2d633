//! `darkroom run`: creates a job and follows it to its files.

use std::{
    io::{self, Read},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use darkroom_client::types::request::{IdempotencyKey, JobRequest, Model};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    Exit,
    connection::Connection,
    follow::{self, Following, duration},
    input::{self, Field},
    show::say,
};

/// Longest prompt that is read from standard input, in bytes. The api has a stricter limit.
const MAX_PROMPT: u64 = 1024 * 1024;

/// Arguments of `darkroom run`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Model: owner/name, owner/name:version, or a version alone.
    model: Model,
    /// Prompt; `-` reads it from standard input. Not every model needs one.
    prompt: Option<String>,
    /// Number of outputs.
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    num_outputs: u8,
    /// Input of the model: key=text, key=@file (text as it is, anything else as a data: URL) or
    /// key:=json.
    #[arg(short, long, value_name = "KEY=VALUE")]
    input: Vec<Field>,
    /// Seed, which makes a generation repeatable where the model supports it.
    #[arg(long)]
    seed: Option<u64>,
    /// File format of the outputs, such as png.
    #[arg(long, value_name = "EXTENSION")]
    format: Option<String>,
    /// Deadline of the job, such as 10m.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    deadline: Option<Duration>,
    /// Time after its end when the job is deleted, such as 24h.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expire_after: Option<Duration>,
    /// Priority: 3 is the default, 4 and 5 yield to others.
    #[arg(long, value_name = "3..5")]
    priority: Option<u8>,
    /// Label of your own, returned unchanged.
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<Field>,
    /// URL of a webhook that is sent when the job ends.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// Idempotency key: the same key leads to the same job. Default: generated.
    #[arg(long, value_name = "NAME")]
    idempotency_key: Option<IdempotencyKey>,
    #[command(flatten)]
    following: Following,
    #[command(flatten)]
    connection: Connection,
}

const EXAMPLES: &str = "\
Examples:
  darkroom run black-forest-labs/flux-schnell 'a lighthouse in fog' -n 4 --save pictures
  darkroom run acme/upscale -i image=@photo.jpg -i scale:=2 --save '{job}/{index}.{ext}'
  echo 'a red fox' | darkroom run acme/photo - -o json | jq -r .status

Exit codes: 0 completed, 1 error, 2 usage, 3 partial, 4 not authorized, 5 failed, 6 canceled, 7 still running after
--timeout, 8 in doubt (it is unknown whether the provider took the submission), 130 Ctrl-C";

/// Creates a job and follows it.
pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let request = match arguments.request() {
        Ok(request) => request,
        Err(error) => {
            say!("error: {error:#}");
            return Ok(Exit::Usage);
        }
    };
    let client = arguments.connection.client()?;
    let key = match &arguments.idempotency_key {
        Some(key) => key.clone(),
        None => Uuid::new_v4().to_string().parse()?,
    };
    let job = tokio::select! {
        created = client.create_job_once(&request, &key) => created.with_context(|| {
            format!("it is unknown whether the job was created; to retry without creating a second one, add --idempotency-key {key}")
        }),
        _ = tokio::signal::ctrl_c() => {
            say!("\nthe job may have been created; to find out, run the same command with --idempotency-key {key}");
            return Ok(Exit::Interrupted);
        }
    }?;
    say!("job {} accepted by {}", job.job_id, client.url());
    follow::follow(&client, job, &arguments.following).await
}

impl Arguments {
    /// Builds the request and checks it by the api's own rules.
    fn request(&self) -> Result<JobRequest> {
        let mut body = json!({"model": self.model, "num_outputs": self.num_outputs});
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body[name] = value;
            }
        };
        put("prompt", self.prompt()?.map(Value::from));
        put("seed", self.seed.map(Value::from));
        put("output_format", self.format.as_deref().map(Value::from));
        put(
            "deadline_seconds",
            self.deadline.map(|time| time.as_secs().into()),
        );
        put(
            "expire_after_seconds",
            self.expire_after.map(|time| time.as_secs().into()),
        );
        put("priority", self.priority.map(Value::from));
        put("webhook_url", self.webhook.as_deref().map(Value::from));
        put("input", some(input::object(&self.input)?));
        put("metadata", some(input::object(&self.metadata)?));
        match serde_path_to_error::deserialize(body) {
            Ok(request) => Ok(request),
            Err(error) => {
                let (path, why) = (error.path().to_string(), error.into_inner());
                match path.as_str() {
                    "." => bail!("{why}"),
                    path => bail!("{path}: {why}"),
                }
            }
        }
    }

    fn prompt(&self) -> Result<Option<String>> {
        let Some("-") = self.prompt.as_deref() else {
            return Ok(self.prompt.clone());
        };
        let mut prompt = String::new();
        io::stdin()
            .take(MAX_PROMPT)
            .read_to_string(&mut prompt)
            .context("cannot read the prompt from standard input")?;
        Ok(Some(prompt.trim_end().to_owned()))
    }
}

fn some(object: Map<String, Value>) -> Option<Value> {
    (!object.is_empty()).then_some(Value::Object(object))
}
