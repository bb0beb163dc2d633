//! Temporal's programs: the server, its schema tool and its UI, built once at the versions that
//! `tools/go.mod` pins.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::super::{
    cache::{self, Cached},
    temporal_cli,
};

/// Version of the server that `tools/go.mod` pins. The schema tool has the same version.
pub const SERVER_VERSION: &str = "1.31.2";

/// Paths of the programs.
pub(super) struct Programs {
    pub(super) server: PathBuf,
    pub(super) ui: PathBuf,
    /// Directories of the schema tool and of the CLI.
    directories: Vec<PathBuf>,
}

impl Programs {
    /// Returns a `PATH` on which scripts find these programs before any other.
    pub(super) fn path(&self) -> Result<OsString> {
        let path = env::var_os("PATH").unwrap_or_default();
        Ok(env::join_paths(
            self.directories
                .iter()
                .cloned()
                .chain(env::split_paths(&path)),
        )?)
    }
}

/// Finds the programs, or builds them.
///
/// # Errors
/// If Go is missing or a build fails.
pub(super) async fn locate(progress: &impl Fn(&str)) -> Result<Programs> {
    let cli = temporal_cli::locate(progress).await?;
    let cached = Cached::lock("temporal-server", SERVER_VERSION)?;
    let directory = cached.directory().to_owned();
    let server = "go.temporal.io/server/cmd";
    let packages = [
        ("temporal-server", format!("{server}/server")),
        ("temporal-sql-tool", format!("{server}/tools/sql")),
        (
            "temporal-ui",
            "github.com/temporalio/ui-server/v2/cmd/server".to_owned(),
        ),
    ];
    if !packages
        .iter()
        .all(|(name, _)| cache::runs(&directory.join(name)))
    {
        progress(&format!(
            "building Temporal {SERVER_VERSION} with Go, once: about 3 minutes on 2 cores"
        ));
        for (name, package) in packages {
            cache::build_tool(&package, "", &directory.join(name))?;
        }
    }
    let (server, ui) = (
        directory.join("temporal-server"),
        directory.join("temporal-ui"),
    );
    let cli_directory = cli
        .parent()
        .map(Path::to_owned)
        .filter(|directory| !directory.as_os_str().is_empty());
    Ok(Programs {
        server,
        ui,
        directories: [directory].into_iter().chain(cli_directory).collect(),
    })
}
