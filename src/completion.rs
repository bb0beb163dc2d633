//! Shell completions and man pages, generated from the command line's own definition.

use std::{io, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;

/// Commands that print what shells and `man` read.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print a shell completion script, for example for `source <(darkroom completion bash)`.
    Completion {
        /// The shell to complete for.
        shell: Shell,
    },
    /// Print the man page, for `man -l -`.
    Man {
        /// Write one man page per command into this directory instead.
        #[arg(long, value_name = "DIRECTORY")]
        directory: Option<PathBuf>,
    },
}

/// Runs the command.
pub(crate) fn run<Cli: CommandFactory>(command: &Command) -> Result<ExitCode> {
    let mut cli = Cli::command();
    match command {
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut cli, "darkroom", &mut script);
            io::Write::write_all(&mut io::stdout(), &script)?;
        }
        Command::Man { directory: None } => clap_mangen::Man::new(cli).render(&mut io::stdout())?,
        Command::Man {
            directory: Some(directory),
        } => {
            let shown = directory.display();
            std::fs::create_dir_all(directory).with_context(|| format!("cannot create {shown}"))?;
            clap_mangen::generate_to(cli, directory)
                .with_context(|| format!("cannot write to {shown}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
