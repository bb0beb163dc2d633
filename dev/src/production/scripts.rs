//! Setup steps of the production stack, run by the scripts of `deploy/`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    NAMESPACE, RETENTION, StoreUser,
    postgres::{self, Postgres},
    programs::Programs,
};
use crate::{process, s3::BUCKET};

/// Variables written by `deploy/new-env.sh`.
pub(super) struct Secrets(BTreeMap<String, String>);

impl Secrets {
    pub(super) fn get(&self, name: &str) -> Result<&str> {
        self.0.get(name).map(String::as_str).with_context(|| {
            format!("{name} is not among the secrets of the stack: use a new directory")
        })
    }

    /// Returns the access key and the secret key of a user of the store.
    pub(super) fn store_keys(&self, user: StoreUser) -> Result<(&str, &str)> {
        let [access_key, secret_key] = user.variables();
        Ok((self.get(access_key)?, self.get(secret_key)?))
    }
}

/// Directory of the deployment scripts and configuration.
pub(super) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy")
}

/// Returns the secrets of the stack in this directory, and the API key of its one tenant. Generates
/// them at the first start.
pub(super) fn secrets(directory: &Path) -> Result<(Secrets, String)> {
    let (file, key_file) = (directory.join("env"), directory.join("api-key"));
    if !key_file.exists() {
        // Left by a first start that was interrupted.
        if file.exists() {
            std::fs::remove_file(&file)?;
        }
        let key = run(Command::new(deploy().join("new-env.sh")).arg(&file))?;
        File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&key_file)?
            .write_all(key.as_bytes())?;
    }
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='));
    let secrets = lines
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Ok((
        Secrets(secrets),
        std::fs::read_to_string(key_file)?.trim().to_owned(),
    ))
}

/// Creates Temporal's databases, or migrates them.
pub(super) fn schema(programs: &Programs, postgres: &Postgres, secrets: &Secrets) -> Result<()> {
    let mut command = script(programs, "temporal/schema.sh")?;
    command
        .env("SQL_HOST", postgres.address.ip().to_string())
        .env("SQL_PORT", postgres.address.port().to_string())
        .env("SQL_USER", postgres::ROLE)
        .env("SQL_PASSWORD", secrets.get("POSTGRES_PASSWORD")?);
    run(&mut command).map(|_| ())
}

/// Creates the namespace and its search attributes.
pub(super) fn namespace(programs: &Programs, address: &str) -> Result<()> {
    let mut command = script(programs, "temporal/namespace.sh")?;
    command
        .env("TEMPORAL_ADDRESS", address)
        .env("TEMPORAL_NAMESPACE", NAMESPACE)
        .env("TEMPORAL_RETENTION", RETENTION);
    run(&mut command).map(|_| ())
}

/// Creates the bucket, and the users of worker and api with their rights.
pub(super) fn bucket(endpoint: &str, secrets: &Secrets) -> Result<()> {
    let (access_key, secret_key) = secrets.store_keys(StoreUser::Root)?;
    let mut command = Command::new(deploy().join("s3/bucket.sh"));
    command
        .env("AWS_ENDPOINT_URL_S3", endpoint)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", access_key)
        .env("AWS_SECRET_ACCESS_KEY", secret_key)
        .env("S3_BUCKET", BUCKET)
        // The variable may be set here for another stack.
        .env_remove("S3_KEY_PREFIX");
    for user in [StoreUser::Worker, StoreUser::Api] {
        for name in user.variables() {
            command.env(name, secrets.get(name)?);
        }
    }
    run(&mut command).map(|_| ())
}

/// Returns a script's command, on whose `PATH` the stack's programs come before any other.
fn script(programs: &Programs, name: &str) -> Result<Command> {
    let mut command = Command::new(deploy().join(name));
    command.env("PATH", programs.path()?);
    Ok(command)
}

/// Runs a script and returns its standard output.
fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    process::run(&name, command)
}
