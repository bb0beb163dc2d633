//! What shells and manuals know of the command line: made from it.

use std::{io, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;

/// Prints for the machine.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print a script that completes commands and arguments, such as for `source <(darkroom
    /// completion bash)`.
    Completion {
        /// Of which shell.
        shell: Shell,
    },
    /// Print the manual, for `man -l -`.
    Man {
        /// Write a page for each command into this directory instead.
        #[arg(long, value_name = "DIRECTORY")]
        directory: Option<PathBuf>,
    },
}

/// Does what is asked for.
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
