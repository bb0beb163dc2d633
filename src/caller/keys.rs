//! `darkroom keys`: creates, lists and revokes API keys. Needs a key with the scope `admin`.

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;
use darkroom_client::types::{
    api_key::{KeyId, ModelPattern, Scope},
    request::{CreateApiKey, KeyName, ListApiKeys},
    resource::ApiKey,
    tenant::Tenant,
};
use jiff::Timestamp;

use super::{
    Exit,
    connection::Connection,
    follow::duration,
    input::parsed,
    show::{self, Format, say},
};

/// Arguments of `darkroom keys`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Command {
    /// Create a key. It is printed once and not stored in plain text.
    Create {
        /// Name of the key.
        #[arg(value_parser = parsed::<KeyName>)]
        name: KeyName,
        /// Scopes: read, write, admin.
        #[arg(long, value_delimiter = ',', default_value = "read,write", value_parser = scope)]
        scopes: Vec<Scope>,
        /// Models that it may use, such as 'acme/*'. Default: all.
        #[arg(long = "model", value_name = "PATTERN", value_parser = parsed::<ModelPattern>)]
        models: Vec<ModelPattern>,
        /// Time after which the key expires, such as 720h. Default: never.
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        expires_in: Option<Duration>,
        /// Tenant of the key; for operators.
        #[arg(long)]
        tenant: Option<Tenant>,
        /// Output format.
        #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
        output: Format,
    },
    /// List API keys.
    List {
        /// Tenant of the keys; for operators.
        #[arg(long)]
        tenant: Option<Tenant>,
        /// Output format.
        #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
        output: Format,
    },
    /// Revoke a key. Every api process refuses it within five seconds.
    Revoke {
        /// Key id.
        key_id: KeyId,
    },
}

fn scope(text: &str) -> Result<Scope, String> {
    serde_json::from_value(text.into()).map_err(|_| "must be read, write or admin".to_owned())
}

/// Runs the command.
pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let client = arguments.connection.client()?;
    match arguments.command {
        Command::Create {
            name,
            scopes,
            models,
            expires_in,
            tenant,
            output,
        } => {
            let request = CreateApiKey {
                name,
                scopes: scopes.into_iter().collect(),
                models,
                expires_at: expires_in.map(|time| Timestamp::now() + time),
                tenant,
            };
            let created = client.create_api_key(&request).await?;
            match output {
                Format::Text => {
                    say!("key {}: shown only once", created.api_key.key_id);
                    show::line(&created.key)?;
                }
                Format::Json | Format::Jsonl => show::document(&created, output)?,
            }
        }
        Command::List { tenant, output } => {
            let keys = client.list_api_keys(&ListApiKeys { tenant }).await?;
            match output {
                Format::Text => {
                    let titles = ["KEY", "NAME", "SCOPES", "EXPIRES", "LAST USED"];
                    show::table(&titles, &keys.keys.iter().map(row).collect::<Vec<_>>())?;
                }
                Format::Json => show::document(&keys, output)?,
                Format::Jsonl => {
                    for key in &keys.keys {
                        show::document(key, output)?;
                    }
                }
            }
        }
        Command::Revoke { key_id } => {
            client.revoke_api_key(&key_id).await?;
            show::line(&key_id)?;
        }
    }
    Ok(Exit::Success)
}

fn row(key: &ApiKey) -> Vec<String> {
    let time =
        |time: Option<Timestamp>| time.map_or("never".to_owned(), |time| format!("{time:.0}"));
    let scopes: Vec<_> = key.scopes.iter().map(ToString::to_string).collect();
    vec![
        key.key_id.to_string(),
        String::from(key.name.clone()),
        scopes.join(","),
        time(key.expires_at),
        time(key.last_used_at),
    ]
}
