//! Child processes that never outlive us. Each holds the reading end of a pipe whose writing end is ours alone: however we
//! go, the kernel closes it, and the child stops. That needs neither signals nor unsafe code.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// How long a child may take to stop once its pipe is closed.
const GRACE: Duration = Duration::from_secs(8);

/// How long of that a supervised command may take after a signal.
const ORDERLY: Duration = Duration::from_secs(7);

/// A running child process. Dropping it stops it.
pub struct Process {
    name: String,
    child: Mutex<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts it, with its output in a log of its own.
    ///
    /// # Errors
    /// If it cannot be started.
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
        // In a group of its own, Ctrl-C in a terminal reaches us alone and we stop the children in order.
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

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.lock().id()
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.lock().try_wait(), Ok(None))
    }

    /// Kills it on the spot and waits until it is gone.
    pub fn kill(&self) {
        let mut child = self.lock();
        // It may be gone already, which is as good.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Stops it in order, and kills it if that takes too long.
    pub fn stop(&self) {
        drop(self.lock().stdin.take());
        let deadline = Instant::now() + GRACE;
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
/// If the deadline passes or one of the processes, without which it cannot come true, ends first.
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

/// Runs a command that knows nothing of our pipe and stops it when the pipe closes: by a signal, and if that does not do, or
/// there is none, by killing it. Returns the command's exit code.
///
/// # Errors
/// If it cannot be started.
pub fn supervise(mut command: Command, signal: Option<&str>) -> Result<i32> {
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start the command")?;
    let (closed, pipe) = std::sync::mpsc::channel();
    when_stdin_closes(move || {
        // The receiver goes only when the command has ended.
        let _ = closed.send(());
    });
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code().unwrap_or(1));
        }
        if pipe.recv_timeout(INTERVAL).is_ok() {
            if let Some(signal) = signal {
                stop_in_order(&mut child, signal)?;
            }
            child.kill()?;
            child.wait()?;
            return Ok(0);
        }
    }
}

fn stop_in_order(child: &mut Child, signal: &str) -> Result<()> {
    Command::new("kill")
        .args([format!("-{signal}"), child.id().to_string()])
        .status()?;
    let deadline = Instant::now() + ORDERLY;
    while child.try_wait()?.is_none() && Instant::now() < deadline {
        std::thread::sleep(INTERVAL);
    }
    Ok(())
}

/// Calls back once standard input is closed.
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

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .last()
        .unwrap_or("without a word")
        .chars()
        .take(300)
        .collect()
}
