//! The Temporal CLI, which contains the dev server: found on the machine, built once with Go, or
//! downloaded once.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail, ensure};

use super::cache::{self, Cached, runs};

/// Version that is built or downloaded; it contains server 1.31.2. `tools/go.mod` pins the same.
pub const VERSION: &str = "1.8.2";

/// Earliest version on the `PATH` that is used: the server of an earlier one lacks features.
const EARLIEST: (u32, u32) = (1, 8);

/// Finds the CLI: `TEMPORAL_CLI`, then a `temporal` of 1.8 or later on the `PATH`, then the cache,
/// then a build with Go, then a download.
///
/// # Errors
/// If all of these fail. The message names the remedies.
pub async fn locate(progress: &impl Fn(&str)) -> Result<PathBuf> {
    if let Some(provided) = cache::provided("TEMPORAL_CLI", "temporal", is_recent)? {
        return Ok(provided);
    }
    let cached = Cached::lock("temporal", VERSION)?;
    let path = cached.path.clone();
    if runs(&path) {
        return Ok(path);
    }
    let built = build(&path, progress);
    let Err(no_build) = built else {
        return Ok(path);
    };
    progress("downloading the Temporal CLI");
    let Err(no_download) = download(&cached).await else {
        return Ok(path);
    };
    bail!(
        "there is no Temporal CLI, and none could be built ({no_build:#}) or downloaded ({no_download:#}). \
         Three ways out: install Go 1.26.4 or later (https://go.dev/dl) and run this again; \
         install the CLI (https://docs.temporal.io/cli) so that `temporal` is on the PATH; \
         or set TEMPORAL_CLI to a copy of it"
    )
}

fn is_recent(program: &Path) -> bool {
    let output = Command::new(program).arg("--version").output();
    output.is_ok_and(|output| {
        output.status.success()
            && version(&String::from_utf8_lossy(&output.stdout)).is_some_and(|it| it >= EARLIEST)
    })
}

/// Reads major and minor version from `temporal version 1.8.2 (Server 1.31.2, UI 2.50.1)`.
fn version(printed: &str) -> Option<(u32, u32)> {
    let mut numbers = printed.split_whitespace().nth(2)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn build(cached: &Path, progress: &impl Fn(&str)) -> Result<()> {
    cache::check_go()?;
    progress(&format!(
        "building the Temporal CLI {VERSION} with Go, once: about 4 minutes on 2 cores"
    ));
    let version = format!("-X github.com/temporalio/cli/internal/temporalcli.Version={VERSION}");
    cache::build_tool("github.com/temporalio/cli/cmd/temporal", &version, cached)
}

async fn download(cached: &Cached) -> Result<()> {
    let platform = if cfg!(target_os = "macos") {
        "darwin"
    } else {
        "linux"
    };
    let architecture = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let url = format!(
        "https://temporal.download/cli/archive/v{VERSION}?platform={platform}&arch={architecture}"
    );
    let response = reqwest::get(url)
        .await
        .map_err(reqwest::Error::without_url)?
        .error_for_status()?;
    let archive = cached.path.with_extension("tar.gz");
    std::fs::write(&archive, response.bytes().await?)?;
    let directory = cached.directory();
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(&archive)
        .arg("-C")
        .arg(directory)
        .arg("temporal")
        .status();
    ensure!(
        unpacked.is_ok_and(|status| status.success()),
        "cannot unpack {}",
        archive.display()
    );
    std::fs::remove_file(archive)?;
    ensure!(runs(&cached.path), "the downloaded CLI does not run");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let recent = version("temporal version 1.10.0 (Server 1.31.2, UI 2.50.1)");
        assert_eq!(recent, Some((1, 10)));
        assert!(recent > Some(EARLIEST));
        assert!(version("temporal version 1.7.2-rc.1 (Server 1.30.0, UI 2.45.0)") < Some(EARLIEST));
        assert_eq!(version("0.0.0-DEV"), None);
    }
}
