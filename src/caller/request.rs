//! `darkroom request`: whatever the api can do, with nothing between but the key.

use std::io::{self, Write};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::Value;
use url::Url;

use super::{
    Exit,
    connection::Connection,
    input::{self, Field},
    show::say,
};

/// A request.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  darkroom request GET /v1/jobs -f limit=5 -f status=failed
  darkroom request POST /v1/jobs -f model=acme/photo -f prompt='a red fox' -f num_outputs:=2")]
pub(crate) struct Arguments {
    /// GET, POST or DELETE.
    method: Method,
    /// The path, such as /v1/jobs.
    path: String,
    /// A parameter of a GET, a field of another's body: key=text, key=@file or key:=json.
    #[arg(short, long, value_name = "KEY=VALUE")]
    field: Vec<Field>,
    #[command(flatten)]
    connection: Connection,
}

/// Sends it, and prints the body of the answer as it comes.
pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let Arguments {
        method,
        path,
        field,
        connection,
    } = arguments;
    ensure!(
        path.starts_with('/'),
        "a path begins with /, such as /v1/jobs"
    );
    let client = connection.client()?;
    let mut url: Url = format!("{}{path}", client.url().as_str().trim_end_matches('/'))
        .parse()
        .context("no such path")?;
    let fields = input::object(&field)?;
    let is_query = [Method::GET, Method::HEAD].contains(&method);
    if is_query {
        for (name, value) in &fields {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            url.query_pairs_mut().append_pair(name, &text);
        }
    }
    let request = client.request(method, url);
    let request = if is_query || fields.is_empty() {
        request
    } else {
        request.json(&Value::Object(fields))
    };
    let mut response = request.send().await.context("no answer")?;
    let status = response.status();
    while let Some(chunk) = response.chunk().await? {
        io::stdout().write_all(&chunk)?;
        io::stdout().flush()?;
    }
    say!("");
    if status.is_success() {
        return Ok(Exit::Success);
    }
    say!("{status}");
    Ok(match status.as_u16() {
        401 | 403 => Exit::NotAuthorized,
        _ => Exit::Error,
    })
}
