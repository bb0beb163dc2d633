//! Child processes that never outlive their parent. Each child's standard input is a pipe whose
//! writing end only the parent holds. However the parent ends, the kernel closes the pipe, and the
//! child stops. This needs no unsafe code.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    pin::pin,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::oneshot;

/// Interval between two checks of a condition.
const INTERVAL: Duration = Duration::from_millis(50);

/// Time for a graceful stop of a child after its pipe is closed; after that, it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// Time for a supervised command to stop after a signal. Shorter than [`STOP_TIMEOUT`], as the
/// supervisor must end as well.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(7);

/// A running child process. Dropping it stops it.
pub struct Process {
    name: String,
    child: Mutex<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts a command, with its output appended to a log file of this name.
    ///
    /// # Errors
    /// If the log cannot be written or the command cannot be started.
    pub fn spawn(name: &str, mut command: Command, log_directory: &Path) -> Result<Self> {
        let log = log_directory.join(format!("{name}.log"));
        std::fs::create_dir_all(log_directory)
            .with_context(|| format!("cannot create {}", log_directory.display()))?;
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        command
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file);
        // With a process group of its own, the child does not receive Ctrl-C from the terminal.
        // Only the parent does, and it stops the children in order.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child: Mutex::new(child),
            log,
        })
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.lock().id()
    }

    /// True if the process is running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.lock().try_wait(), Ok(None))
    }

    /// Kills the process and waits until it has ended.
    pub fn kill(&self) {
        let mut child = self.lock();
        // Fails if the process has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Stops the process gracefully, and kills it if that takes longer than 8 seconds.
    pub fn stop(&self) {
        drop(self.lock().stdin.take());
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.is_running() && Instant::now() < deadline {
            std::thread::sleep(INTERVAL);
        }
        self.kill();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits for a condition.
///
/// # Errors
/// If the deadline passes, or one of the processes that the condition depends on ends.
pub async fn until(
    what: &str,
    deadline: Duration,
    processes: &[&Process],
    condition: impl AsyncFn() -> bool,
) -> Result<()> {
    let give_up = Instant::now() + deadline;
    while !condition().await {
        if let Some(dead) = processes.iter().find(|process| !process.is_running()) {
            bail!(
                "{} ended: {} (log: {})",
                dead.name,
                last_line(&dead.log),
                dead.log.display()
            );
        }
        if Instant::now() > give_up {
            let logs: Vec<_> = processes
                .iter()
                .map(|process| process.log.display().to_string())
                .collect();
            bail!("no {what} within {deadline:?} (log: {})", logs.join(", "));
        }
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(())
}

/// Runs a command that does not watch the pipe itself, and stops it when the pipe closes or `stop`
/// resolves: by a signal if one is given, and by killing it if it has not ended after seven
/// seconds. Returns the exit code of the command, or 0 if it was stopped.
///
/// # Errors
/// If the command cannot be started or killed.
pub async fn supervise(
    command: Command,
    signal: Option<&str>,
    stop: impl Future<Output = ()>,
) -> Result<i32> {
    let mut stop = pin!(stop);
    // The first poll installs the handlers of signals, before there is a command to stop.
    tokio::select! {
        biased;
        () = &mut stop => return Ok(0),
        () = std::future::ready(()) => {}
    }
    let mut child = tokio::process::Command::from(command)
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start the command")?;
    let (closed, pipe) = oneshot::channel();
    when_stdin_closes(move || {
        // Fails if the command has ended, or is being stopped.
        let _ = closed.send(());
    });
    tokio::select! {
        status = child.wait() => return Ok(status?.code().unwrap_or(1)),
        _ = pipe => {}
        () = stop => {}
    }
    if let (Some(signal), Some(id)) = (signal, child.id()) {
        // If it cannot be signaled, it is killed.
        let _ = Command::new("kill")
            .args([format!("-{signal}"), id.to_string()])
            .status();
        if let Ok(status) = tokio::time::timeout(SIGNAL_TIMEOUT, child.wait()).await {
            status?;
            return Ok(0);
        }
    }
    child.kill().await?;
    Ok(0)
}

/// Calls a function once standard input is closed.
pub fn when_stdin_closes(then: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while std::io::stdin()
            .read(&mut buffer)
            .is_ok_and(|read| read > 0)
        {}
        then();
    });
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// If it cannot be started or fails; the message has the command's name and the last line of its
/// standard error.
pub(crate) fn run(name: &str, command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{name} failed: {}",
        stderr.lines().last().unwrap_or_default()
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .last()
        .unwrap_or("no output")
        .chars()
        .take(300)
        .collect()
}
