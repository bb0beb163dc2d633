//! PostgreSQL as installed on the system, with a database cluster of its own. PostgreSQL refuses to
//! run as root: for root, it runs as the system's user `postgres`.

use std::{
    fs::File,
    io::Write,
    net::SocketAddr,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::super::{
    Options, READY_TIMEOUT, log_directory, ports,
    process::{self, Process},
};

/// Role of the database.
pub(super) const ROLE: &str = "temporal";

/// Longest wait for the server of a stack that was killed. It holds the data directory until it has
/// flushed everything.
const PREDECESSOR_TIMEOUT: Duration = Duration::from_secs(20);

/// A running server. Dropping it stops it gracefully.
pub struct Postgres {
    /// Address that it listens on.
    pub address: SocketAddr,
    programs: PathBuf,
    home: PathBuf,
    options: Options,
    process: Process,
}

impl Postgres {
    /// Starts a server and waits until it accepts connections. Creates the database cluster at the
    /// first start.
    ///
    /// # Errors
    /// If PostgreSQL is not installed, or does not accept connections in time.
    pub(super) async fn start(options: &Options, password: &str) -> Result<Self> {
        let programs = locate()?;
        let home = options.directory.join("postgres");
        if !home.join("data").exists() {
            initialize(&programs, &home, password)?;
        }
        let address = ports::pick(options, "postgres", 5432).await?;
        let process = spawn(&programs, &home, address, options)?;
        let mut postgres = Self {
            address,
            programs,
            home,
            options: options.clone(),
            process,
        };
        let began = Instant::now();
        while let Err(error) = postgres.until_ready().await {
            if postgres.process.is_running() || began.elapsed() > PREDECESSOR_TIMEOUT {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            postgres.process = spawn(&postgres.programs, &postgres.home, address, options)?;
        }
        Ok(postgres)
    }

    /// Restarts the server gracefully, which closes all connections.
    ///
    /// # Errors
    /// If it does not start again.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.stop();
        self.process = spawn(&self.programs, &self.home, self.address, &self.options)?;
        self.until_ready().await
    }

    /// Process id of its supervisor.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    async fn until_ready(&self) -> Result<()> {
        let (host, port) = (
            self.address.ip().to_string(),
            self.address.port().to_string(),
        );
        let ready = async || {
            let mut command = Command::new(self.programs.join("pg_isready"));
            command
                .args(["--host", &host, "--port", &port])
                .stdout(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        process::until("PostgreSQL", READY_TIMEOUT, &[&self.process], ready).await
    }
}

fn spawn(programs: &Path, home: &Path, address: SocketAddr, options: &Options) -> Result<Process> {
    let mut command = Command::new(&options.binary);
    command
        .args(["supervise", "--signal", "INT", "--"])
        .args(unprivileged_prefix()?);
    command
        .arg(programs.join("postgres"))
        .arg("-D")
        .arg(home.join("data"));
    command.args([
        "-h",
        &address.ip().to_string(),
        "-p",
        &address.port().to_string(),
    ]);
    command.args([
        "-c",
        "unix_socket_directories=",
        "-c",
        "max_connections=200",
    ]);
    command.current_dir("/");
    Process::spawn("postgres", command, &log_directory(&options.directory))
}

/// Creates a database cluster.
fn initialize(programs: &Path, home: &Path, password: &str) -> Result<()> {
    std::fs::create_dir_all(home).with_context(|| format!("cannot create {}", home.display()))?;
    let (password_file, unfinished) = (home.join("password"), home.join("unfinished"));
    // Left by a first start that was interrupted.
    for path in [&password_file, &unfinished] {
        run("rm", Command::new("rm").arg("-rf").arg(path))?;
    }
    let mut secret = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&password_file)?;
    secret.write_all(password.as_bytes())?;
    if is_root()? {
        run(
            "chown",
            Command::new("chown")
                .args(["-R", "postgres:postgres"])
                .arg(home),
        )?;
        let reached = as_user("test")
            .arg("-x")
            .arg(home)
            .status()
            .is_ok_and(|status| status.success());
        ensure!(
            reached,
            "the system's user postgres, as whom PostgreSQL runs for root, cannot reach {}; keep the data elsewhere, \
             such as --data /tmp/darkroom",
            home.display()
        );
    }
    let mut command = unprivileged_command(&programs.join("initdb"))?;
    command
        .arg("-D")
        .arg(&unfinished)
        .args(["--username", ROLE, "--auth", "scram-sha-256"]);
    command
        .args(["--encoding", "UTF8", "--locale", "C"])
        .arg("--pwfile")
        .arg(&password_file);
    run("initdb", &mut command)?;
    std::fs::remove_file(password_file)?;
    std::fs::rename(unfinished, home.join("data"))?;
    Ok(())
}

/// Runs a command in a directory that every user can reach.
fn run(name: &str, command: &mut Command) -> Result<()> {
    process::run(name, command.current_dir("/")).map(|_| ())
}

/// Returns the command of a program that must not run as root.
fn unprivileged_command(program: &Path) -> Result<Command> {
    Ok(if is_root()? {
        let mut command = as_user("--");
        command.arg(program);
        command
    } else {
        Command::new(program)
    })
}

/// Prefix of a command line that must not run as root: empty unless this process is root.
fn unprivileged_prefix() -> Result<&'static [&'static str]> {
    Ok(if is_root()? { &SETPRIV } else { &[] })
}

const SETPRIV: [&str; 4] = [
    "setpriv",
    "--reuid=postgres",
    "--regid=postgres",
    "--init-groups",
];

fn as_user(program: &str) -> Command {
    let mut command = Command::new(SETPRIV[0]);
    command.args(&SETPRIV[1..]).arg(program);
    command
}

fn is_root() -> Result<bool> {
    Ok(std::fs::metadata("/proc/self")
        .context("cannot read the user id from /proc/self")?
        .uid()
        == 0)
}

/// Finds the directory of PostgreSQL's programs: on the `PATH`, or else the last version in
/// Debian's directories.
fn locate() -> Result<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut debian: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    debian.sort();
    let is_whole = |path: &PathBuf| {
        ["initdb", "postgres", "pg_isready"]
            .iter()
            .all(|name| path.join(name).is_file())
    };
    let found = std::env::split_paths(&on_path)
        .chain(debian.into_iter().rev())
        .find(is_whole);
    found.context("PostgreSQL is not installed; on Debian: apt-get install postgresql")
}
