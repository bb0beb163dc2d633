//! Third-party programs that the stack needs: found on the machine, or built once and cached.

use std::{
    env,
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::process;

/// Cached program, with its lock.
pub(super) struct Cached {
    /// Path of the program.
    pub(super) path: PathBuf,
    /// File lock: a second process waits for the first one and finds the program built.
    _lock: File,
}

impl Cached {
    /// Locks the cache entry of a program. Dropping the value releases the lock.
    pub(super) fn lock(name: &str, version: &str) -> Result<Self> {
        let path = directory()?.join(format!("{name}-{version}")).join(name);
        let directory = path.parent().context("the cache has no directory")?;
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let file = File::create(directory.join("lock"))?;
        file.lock()?;
        Ok(Self { path, _lock: file })
    }

    /// Directory of the cache entry.
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }
}

/// Finds a program that a variable names, or one on the `PATH` that is `usable`.
pub(super) fn provided(
    variable: &str,
    name: &str,
    usable: impl Fn(&Path) -> bool,
) -> Result<Option<PathBuf>> {
    if let Some(path) = env::var_os(variable).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        let shown = path.display();
        ensure!(
            runs(&path),
            "{variable}: {shown} does not run; set it like {variable}=/usr/local/bin/{name}"
        );
        return Ok(Some(path));
    }
    let on_path = PathBuf::from(name);
    Ok(usable(&on_path).then_some(on_path))
}

/// True if the program exists and `--version` succeeds.
pub(super) fn runs(program: &Path) -> bool {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Checks that Go is installed.
///
/// # Errors
/// If it is not.
pub(super) fn check_go() -> Result<()> {
    let version = Command::new("go")
        .arg("version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    ensure!(version.is_ok(), "Go is not installed");
    Ok(())
}

/// Builds a package at the version that `tools/go.mod` pins.
pub(super) fn build_tool(package: &str, link_flags: &str, to: &Path) -> Result<()> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("tools");
    ensure!(
        tools.join("go.mod").is_file(),
        "the sources are not at {}",
        tools.display()
    );
    check_go()?;
    let unfinished = to.with_extension("unfinished");
    let mut command = Command::new("go");
    command
        .env("CGO_ENABLED", "0")
        .arg("build")
        .arg("-C")
        .arg(tools)
        .args(["-ldflags", &format!("-s -w {link_flags}"), "-o"]);
    process::run("go", command.arg(&unfinished).arg(package))?;
    std::fs::rename(unfinished, to)?;
    Ok(())
}

fn directory() -> Result<PathBuf> {
    let home = |name: &str, below: &str| {
        env::var_os(name)
            .filter(|path| !path.is_empty())
            .map(|path| PathBuf::from(path).join(below))
    };
    let cache = home("XDG_CACHE_HOME", "")
        .or_else(|| home("HOME", ".cache"))
        .context("HOME is not set")?;
    Ok(cache.join("darkroom"))
}
