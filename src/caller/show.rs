//! Printing: data to standard output, messages to standard error.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use tabwriter::TabWriter;

/// Prints a message to standard error. Ignores errors: a closed pipe must not stop the command.
macro_rules! say {
    ($($arguments:tt)*) => {{
        use ::std::io::Write;
        let _ = ::std::writeln!(::std::io::stderr(), $($arguments)*);
    }};
}

pub(super) use say;

/// Output format of data.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Format {
    /// Text, for a person on a terminal or for `cut` and `xargs` in a pipe.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// One JSON document per line, as they arrive.
    Jsonl,
}

/// Prints a line to standard output.
pub(super) fn line(text: impl std::fmt::Display) -> Result<()> {
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}

/// Prints a document: on one line with `jsonl`, indented otherwise.
pub(super) fn document(value: &impl Serialize, format: Format) -> Result<()> {
    line(match format {
        Format::Jsonl => serde_json::to_string(value)?,
        Format::Text | Format::Json => serde_json::to_string_pretty(value)?,
    })
}

/// Prints rows: aligned and with titles on a terminal, separated by tabs elsewhere.
pub(super) fn table(titles: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let mut out = io::stdout().lock();
    let rows = rows.iter().map(|row| {
        let cells = row.iter().map(|cell| cell.replace(['\t', '\n', '\r'], " "));
        cells.collect::<Vec<_>>().join("\t")
    });
    if !out.is_terminal() {
        for row in rows {
            writeln!(out, "{row}")?;
        }
        return Ok(());
    }
    let mut aligned = TabWriter::new(Vec::new()).padding(2);
    writeln!(aligned, "{}", titles.join("\t"))?;
    for row in rows {
        writeln!(aligned, "{row}")?;
    }
    let text = String::from_utf8(aligned.into_inner()?)?;
    let width = console::Term::stdout()
        .size_checked()
        .map_or(80, |(_, width)| width.into());
    for (number, line) in text.lines().enumerate() {
        let line = console::truncate_str(line.trim_end(), width, "…");
        match number {
            0 => writeln!(out, "{}", console::style(line).dim())?,
            _ => writeln!(out, "{line}")?,
        }
    }
    Ok(())
}

/// Returns true if the user confirms.
///
/// # Errors
/// If standard input or standard error is not a terminal: then the flag `--yes` is required.
pub(super) fn confirmed(question: &str) -> Result<bool> {
    let terminal = console::Term::stderr();
    if !io::stdin().is_terminal() || !terminal.is_term() {
        anyhow::bail!("{question} Cannot ask without a terminal; add --yes");
    }
    terminal.write_str(&format!("{question} [y/N] "))?;
    let answer = terminal.read_line()?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
