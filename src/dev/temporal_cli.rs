//! Finding the Temporal CLI, which carries the dev server: one that is there, or one that we build or fetch once.

use std::{
    env,
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

/// The version that is built or fetched: server 1.31.2. `tools/go.mod` pins the same.
const VERSION: &str = "1.8.2";

/// Finds the CLI: `TEMPORAL_CLI`, then `temporal` on the `PATH`, then our cache, then a build with Go, then a download.
///
/// # Errors
/// If all ways fail; the message names the ways out.
pub async fn locate(progress: &impl Fn(&str)) -> Result<PathBuf> {
    if let Some(path) = env::var_os("TEMPORAL_CLI").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        ensure!(
            runs(&path),
            "TEMPORAL_CLI: {} does not run; set it like TEMPORAL_CLI=/usr/local/bin/temporal",
            path.display()
        );
        return Ok(path);
    }
    let on_path = PathBuf::from("temporal");
    if runs(&on_path) {
        return Ok(on_path);
    }
    let cached = cache_directory()?.join(format!("temporal-{VERSION}")).join("temporal");
    // Whoever comes second waits for the first and finds its work done.
    let _lock = lock(&cached)?;
    if runs(&cached) {
        return Ok(cached);
    }
    let built = build(&cached, progress);
    let Err(no_build) = built else { return Ok(cached) };
    progress("fetching the Temporal CLI");
    let Err(no_download) = download(&cached).await else { return Ok(cached) };
    bail!(
        "there is no Temporal CLI, and none could be built ({no_build:#}) or fetched ({no_download:#}). \
         Three ways out: install Go 1.26 or later (https://go.dev/dl) and run this again; \
         install the CLI (https://docs.temporal.io/cli) so that `temporal` is on the PATH; \
         or set TEMPORAL_CLI to a copy of it"
    )
}

fn runs(cli: &Path) -> bool {
    let version =
        Command::new(cli).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

fn cache_directory() -> Result<PathBuf> {
    let home = |name: &str, below: &str| {
        env::var_os(name).filter(|path| !path.is_empty()).map(|path| PathBuf::from(path).join(below))
    };
    let cache = home("XDG_CACHE_HOME", "").or_else(|| home("HOME", ".cache")).context("HOME is not set")?;
    Ok(cache.join("darkroom"))
}

fn lock(cached: &Path) -> Result<File> {
    let directory = cached.parent().context("the cache has no directory")?;
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let file = File::create(directory.join("lock"))?;
    file.lock()?;
    Ok(file)
}

fn build(cached: &Path, progress: &impl Fn(&str)) -> Result<()> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools");
    ensure!(tools.join("go.mod").is_file(), "the sources are not at {}", tools.display());
    ensure!(
        Command::new("go").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok(),
        "Go is not installed"
    );
    progress(&format!("building the Temporal CLI {VERSION} with Go, once: about 4 minutes on 2 cores"));
    let unfinished = cached.with_extension("unfinished");
    let flags = format!("-s -w -X github.com/temporalio/cli/internal/temporalcli.Version={VERSION}");
    let output = Command::new("go")
        .env("CGO_ENABLED", "0")
        .arg("build")
        .arg("-C")
        .arg(tools)
        .args(["-ldflags", &flags, "-o"])
        .arg(&unfinished)
        .arg("github.com/temporalio/cli/cmd/temporal")
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "go build failed: {}", said.lines().last().unwrap_or_default());
    std::fs::rename(unfinished, cached)?;
    Ok(())
}

async fn download(cached: &Path) -> Result<()> {
    let platform = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let url = format!("https://temporal.download/cli/archive/v{VERSION}?platform={platform}&arch={architecture}");
    let response = reqwest::get(url).await.map_err(reqwest::Error::without_url)?.error_for_status()?;
    let archive = cached.with_extension("tar.gz");
    std::fs::write(&archive, response.bytes().await?)?;
    let directory = cached.parent().context("the cache has no directory")?;
    let unpacked = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(directory).arg("temporal").status();
    ensure!(unpacked.is_ok_and(|status| status.success()), "cannot unpack {}", archive.display());
    std::fs::remove_file(archive)?;
    ensure!(runs(cached), "the fetched CLI does not run");
    Ok(())
}
