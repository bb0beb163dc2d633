//! Runner for the command lines of `docs/operations.md`, as an operator on call would type them.

use std::{collections::BTreeSet, path::Path, process::Stdio, sync::Mutex};

use darkroom_dev::production::{NAMESPACE, Production};
use tokio::process::Command;

use crate::support::harness::{BINARY, until_within};

/// The command lines of the page, and an environment for a shell: programs on its `PATH`, and the
/// addresses of the stack.
pub(crate) struct Runbook {
    lines: Vec<Line>,
    used: Mutex<BTreeSet<usize>>,
    environment: Vec<(&'static str, String)>,
    directory: tempfile::TempDir,
}

/// A command, which may span several lines of the page.
struct Line {
    section: String,
    text: String,
}

/// Outcome of a command.
pub(crate) struct Outcome {
    pub(crate) success: bool,
    /// Everything that it printed.
    pub(crate) text: String,
}

impl Runbook {
    pub(crate) fn of(stack: &Production) -> Self {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
        let path = stack.path().unwrap().into_string().unwrap();
        let path = format!("{}:{path}", Path::new(BINARY).parent().unwrap().display());
        let database = stack.postgres.address;
        let environment = vec![
            ("PATH", path),
            ("TEMPORAL_ADDRESS", stack.temporal.address.clone()),
            ("TEMPORAL_NAMESPACE", NAMESPACE.to_owned()),
            ("PGHOST", database.ip().to_string()),
            ("PGPORT", database.port().to_string()),
            ("PGUSER", "temporal".to_owned()),
            ("PGPASSWORD", stack.database_password().unwrap().to_owned()),
        ];
        let directory = tempfile::tempdir().unwrap();
        Self {
            lines: lines(&std::fs::read_to_string(page).unwrap()),
            used: Mutex::default(),
            environment,
            directory,
        }
    }

    /// Runs the line of a section that contains these words. It must succeed.
    pub(crate) async fn run(
        &self,
        section: &str,
        words: &str,
        variables: &[(&str, &str)],
    ) -> String {
        let outcome = self.try_run(section, &[words], variables).await;
        assert!(outcome.success, "{section}: {words}: {}", outcome.text);
        outcome.text
    }

    /// Runs lines of a section in one shell. They may fail.
    pub(crate) async fn try_run(
        &self,
        section: &str,
        words: &[&str],
        variables: &[(&str, &str)],
    ) -> Outcome {
        let script: Vec<_> = words
            .iter()
            .map(|words| self.line(section, words))
            .collect();
        self.shell(&script.join("\n"), variables).await
    }

    /// Runs a `temporal` command that is not on the page.
    pub(crate) async fn cli(&self, arguments: &str) -> String {
        let outcome = self.shell(&format!("temporal {arguments}"), &[]).await;
        assert!(outcome.success, "{arguments}: {}", outcome.text);
        outcome.text
    }

    async fn shell(&self, script: &str, variables: &[(&str, &str)]) -> Outcome {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(variables.iter().copied());
        let output = command.output().await.unwrap();
        let text = [output.stdout, output.stderr]
            .map(|text| String::from_utf8(text).unwrap())
            .concat();
        Outcome {
            success: output.status.success(),
            text,
        }
    }

    /// Runs a line until its output contains these words.
    pub(crate) async fn run_until(
        &self,
        section: &str,
        words: &str,
        variables: &[(&str, &str)],
        expected: &str,
    ) -> String {
        // Temporal reports a workflow task as a problem only after five failures.
        const JOB_TIMEOUT: std::time::Duration = std::time::Duration::from_mins(3);
        until_within(
            &format!("{expected:?} from {words:?}"),
            JOB_TIMEOUT,
            async || {
                let text = self.run(section, words, variables).await;
                text.contains(expected).then_some(text)
            },
        )
        .await
    }

    /// Lines of these sections that were not run.
    pub(crate) fn unused(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<&str> {
        let used = self.used.lock().unwrap();
        let unused = self
            .lines
            .iter()
            .enumerate()
            .filter(|(number, line)| is_wanted(&line.section) && !used.contains(number));
        unused.map(|(_, line)| line.text.as_str()).collect()
    }

    fn line(&self, section: &str, words: &str) -> &str {
        let matches = |line: &Line| line.section == section && line.text.contains(words);
        let mut found = self
            .lines
            .iter()
            .enumerate()
            .filter(|(_, line)| matches(line));
        let (number, line) = found
            .next()
            .unwrap_or_else(|| panic!("no line has {words:?} under {section:?}"));
        assert!(
            found.next().is_none(),
            "more than one line has {words:?} under {section:?}"
        );
        self.used.lock().unwrap().insert(number);
        &line.text
    }
}

/// Commands of the page that can be run here. Those of `tctl`, of compose and of the provider
/// cannot.
fn lines(page: &str) -> Vec<Line> {
    const PROGRAMS: [&str; 6] = [
        "temporal ",
        "EVENT=",
        "pg_dump ",
        "dropdb ",
        "psql ",
        "darkroom ",
    ];
    let (mut section, mut in_code, mut text) = (String::new(), false, String::new());
    let mut lines = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            in_code = line == "```sh";
        } else if let (false, Some((_, title))) = (in_code, line.split_once("# ")) {
            title.clone_into(&mut section);
        } else if in_code {
            text += line;
            // The command continues on the next line.
            if line.ends_with('|') {
                text.push('\n');
                continue;
            }
            if PROGRAMS.iter().any(|program| text.starts_with(program)) {
                lines.push(Line {
                    section: section.clone(),
                    text: text.clone(),
                });
            }
            text.clear();
        }
    }
    assert!(lines.len() > 40, "only {} lines were found", lines.len());
    lines
}
