//! `darkroom request`: sends any request to the api, with the key of the connection.

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

/// Arguments of `darkroom request`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  darkroom request GET /v1/jobs -f limit=5 -f status=failed
  darkroom request POST /v1/jobs -f model=acme/photo -f prompt='a red fox' -f num_outputs:=2")]
pub(crate) struct Arguments {
    /// HTTP method: GET, POST or DELETE.
    method: Method,
    /// Path, such as /v1/jobs.
    path: String,
    /// Query parameter of a GET, or field of the JSON body otherwise: key=text, key=@file or
    /// key:=json.
    #[arg(short, long, value_name = "KEY=VALUE")]
    field: Vec<Field>,
    #[command(flatten)]
    connection: Connection,
}

/// Sends the request and prints the body of the response as it arrives.
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
        .context("this path is not valid in a URL")?;
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
    let mut response = request.send().await.context("the api did not answer")?;
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
