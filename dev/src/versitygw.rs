//! A Versity gateway: an S3 server on files whose behavior is closer to AWS than that of the
//! embedded one. Tests, benchmarks and the production stack use it.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use super::{
    Options, READY_TIMEOUT,
    cache::{self, Cached},
    log_directory, ports,
    process::{self, Process},
    s3::{ACCESS_KEY, BUCKET, SECRET_KEY},
};

/// Version that is built.
pub const VERSION: &str = "1.8.0";

/// A running gateway. Dropping it stops it.
pub struct VersityGateway {
    /// Endpoint URL.
    pub endpoint: String,
    process: Process,
}

impl VersityGateway {
    /// Starts a gateway with a bucket and waits until it is healthy.
    ///
    /// # Errors
    /// If the program is missing and cannot be built, or the gateway is not healthy within 30
    /// seconds.
    pub async fn start(options: &Options, progress: &impl Fn(&str)) -> Result<Self> {
        let bucket = root(options).join(BUCKET);
        std::fs::create_dir_all(&bucket)
            .with_context(|| format!("cannot create {}", bucket.display()))?;
        Self::start_with_keys(options, (ACCESS_KEY, SECRET_KEY), progress).await
    }

    /// Starts a gateway without a bucket, whose root user has the given access key and secret key.
    /// Further users may be created.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with_keys(
        options: &Options,
        (access_key, secret_key): (&str, &str),
        progress: &impl Fn(&str),
    ) -> Result<Self> {
        let program = locate(progress)?;
        let address = ports::pick(options, "versitygw", 7070).await?;
        let root = root(options);
        let users = options.directory.join("versitygw-users");
        for directory in [&root, &users] {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let mut command = Command::new(&options.binary);
        command.args(["supervise", "--"]).arg(program);
        // Without the cache of users, a changed secret applies at once, and to every request.
        command
            .args([
                "--port",
                &address.to_string(),
                "--health",
                "/health",
                "--iam-cache-disable",
                "--iam-dir",
            ])
            .arg(users)
            .arg("posix")
            .arg(root);
        command
            .env("ROOT_ACCESS_KEY", access_key)
            .env("ROOT_SECRET_KEY", secret_key);
        let process = Process::spawn("versitygw", command, &log_directory(&options.directory))?;
        let gateway = Self {
            endpoint: format!("http://{address}"),
            process,
        };
        let http = reqwest::Client::builder().no_proxy().build()?;
        let health = format!("{}/health", gateway.endpoint);
        let ready = async || {
            http.get(&health)
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
        };
        process::until("S3 gateway", READY_TIMEOUT, &[&gateway.process], ready).await?;
        Ok(gateway)
    }

    /// Stops the gateway. Started again with the same options, it has the same port and data.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// Process id of its supervisor.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

fn root(options: &Options) -> PathBuf {
    options.directory.join("versitygw")
}

/// Finds the program: `VERSITYGW`, then `versitygw` on the `PATH`, then the cache, then a build
/// with Go.
fn locate(progress: &impl Fn(&str)) -> Result<PathBuf> {
    if let Some(provided) = cache::provided("VERSITYGW", "versitygw", cache::runs)? {
        return Ok(provided);
    }
    let cached = Cached::lock("versitygw", VERSION)?;
    if !cache::runs(&cached.path) {
        cache::check_go()?;
        progress(&format!(
            "building the Versity gateway {VERSION} with Go, once"
        ));
        let package = format!("github.com/versity/versitygw/cmd/versitygw@v{VERSION}");
        process::run(
            "go",
            Command::new("go")
                .env("GOBIN", cached.directory())
                .args(["install", &package]),
        )
        .context("there is no versitygw on the PATH, and none could be built")?;
    }
    Ok(cached.path.clone())
}
