//! The environment variables that worker and api read, printed as a Markdown table or as an `.env`
//! file. Tests hold `README.md` and `.env.example` to this output.

use darkroom_config::{Variable, shared, variable::Without};
use darkroom_telemetry::logs;

/// Width of comments in an `.env` file, in characters.
const WIDTH: usize = 140;

/// Output format.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// A Markdown table.
    #[default]
    Markdown,
    /// An `.env` file.
    Env,
}

/// Connection to Temporal.
const TEMPORAL: [Variable; 5] = [
    Variable::new("TEMPORAL_ADDRESS", "127.0.0.1:7233")
        .defaults_to("localhost:7233")
        .about("address of Temporal; `TEMPORAL_*` are as its SDKs and CLI read them"),
    Variable::new("TEMPORAL_NAMESPACE", "default")
        .defaults_to("default")
        .about("namespace"),
    Variable::new("TEMPORAL_API_KEY", "eyJ…").about("API key, for Temporal Cloud"),
    Variable::new("TEMPORAL_TLS_CLIENT_CERT_PATH", "/run/secrets/client.pem")
        .about("certificate for mutual TLS"),
    Variable::new("TEMPORAL_TLS_CLIENT_KEY_PATH", "/run/secrets/client.key")
        .about("private key of that certificate"),
];

/// Credentials of the S3 store.
const CREDENTIALS: [Variable; 2] = [
    Variable::new("AWS_ACCESS_KEY_ID", "AKIA…")
        .otherwise("as AWS SDKs find it")
        .about("access key of the store"),
    Variable::new("AWS_SECRET_ACCESS_KEY", "wJal…")
        .otherwise("as AWS SDKs find it")
        .about("secret key of the store"),
];

/// Traces and logs.
const TELEMETRY: [Variable; 2] = [
    Variable::new("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
        .about("endpoint for OpenTelemetry traces, over HTTP; `OTEL_*` are as the OpenTelemetry SDKs read them"),
    Variable::new("RUST_LOG", "debug")
        .defaults_to(logs::DEFAULT)
        .about("log filter; logs are JSON unless a terminal reads them"),
];

/// Variables that the same process reads: the worker, the api, or both.
struct Group {
    of: &'static str,
    variables: Vec<Variable>,
}

fn groups() -> [Group; 3] {
    let both = [
        &TEMPORAL[..],
        &darkroom_storage::variables::VARIABLES,
        &CREDENTIALS,
        &shared::VARIABLES,
        &TELEMETRY,
    ];
    [
        Group {
            of: "both",
            variables: both.concat(),
        },
        Group {
            of: "worker",
            variables: darkroom_worker::variables::VARIABLES.to_vec(),
        },
        Group {
            of: "api",
            variables: darkroom_api::variables::VARIABLES.to_vec(),
        },
    ]
}

/// Prints all variables in a format.
pub(crate) fn print(format: Format) -> String {
    match format {
        Format::Markdown => markdown(),
        Format::Env => env(),
    }
}

fn markdown() -> String {
    let mut lines = vec![
        "| variable | of | default | meaning |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    for Group { of, variables } in groups() {
        lines.extend(variables.iter().map(|variable| {
            let (name, about) = (variable.name, variable.about);
            let default = match variable.without {
                Without::Nothing => "none".to_owned(),
                Without::Value(value) => format!("`{value}`"),
                Without::Words(words) => words.to_owned(),
            };
            format!("| `{name}` | {of} | {default} | {about} |")
        }));
    }
    lines.join("\n") + "\n"
}

fn env() -> String {
    let mut lines = vec![
        "# Every variable that Darkroom reads, at its default; empty means absent. Printed by `darkroom variables --format env`.".to_owned(),
        "# Not for docker compose, whose `.env` is written by deploy/new-env.sh.".to_owned(),
    ];
    for Group { of, variables } in groups() {
        let of = if of == "both" { "worker and api" } else { of };
        lines.extend([String::new(), format!("# --- {of}")]);
        for variable in variables {
            let (value, words) = match variable.without {
                Without::Nothing => ("", String::new()),
                Without::Value(value) => (value, String::new()),
                Without::Words(words) => ("", format!(" (if absent: {words})")),
            };
            lines.extend(comment(&format!("{}{words}", variable.about)));
            lines.push(format!("{}={value}", variable.name));
        }
    }
    lines.join("\n") + "\n"
}

/// Wraps a text into lines that begin with `#`.
fn comment(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = "#".to_owned();
    for word in text.split(' ') {
        if line.chars().count() + word.chars().count() >= WIDTH {
            lines.push(std::mem::replace(&mut line, "#".to_owned()));
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push(line);
    lines
}
