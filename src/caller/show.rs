//! What goes where: data on standard output, everything else on standard error.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use tabwriter::TabWriter;

/// Says something to a person. Whoever hears it may stop listening without stopping us.
macro_rules! say {
    ($($arguments:tt)*) => {{
        use ::std::io::Write;
        let _ = ::std::writeln!(::std::io::stderr(), $($arguments)*);
    }};
}

pub(super) use say;

/// As what data are printed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Format {
    /// For a person on a terminal, for `cut` and `xargs` in a pipe.
    #[default]
    Text,
    /// One document.
    Json,
    /// One document a line, as they come.
    Jsonl,
}

/// Prints a line.
pub(super) fn line(text: impl std::fmt::Display) -> Result<()> {
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}

/// Prints a document, in the form that the format has for one.
pub(super) fn document(value: &impl Serialize, format: Format) -> Result<()> {
    line(match format {
        Format::Jsonl => serde_json::to_string(value)?,
        Format::Text | Format::Json => serde_json::to_string_pretty(value)?,
    })
}

/// Prints rows: aligned and with their titles on a terminal, apart by tabs elsewhere.
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

/// Whether a person wants it. Nobody is asked where nobody looks: there it takes the flag.
pub(super) fn confirmed(question: &str) -> Result<bool> {
    let terminal = console::Term::stderr();
    if !io::stdin().is_terminal() || !terminal.is_term() {
        anyhow::bail!("{question} There is nobody to ask; add --yes");
    }
    terminal.write_str(&format!("{question} [y/N] "))?;
    let answer = terminal.read_line()?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
