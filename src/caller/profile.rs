//! Profiles: names for the URL and the key of an api, in a file that only its owner can read:
//! `$XDG_CONFIG_HOME/darkroom/profiles.toml`, or below `~/.config`.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Read, Write},
    path::PathBuf,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use etcetera::{AppStrategy, AppStrategyArgs, app_strategy::Xdg};
use serde::{Deserialize, Serialize};
use url::Url;

use super::Exit;

/// Commands on profiles.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create or change a profile. The first one becomes the current one.
    Set {
        /// Profile name.
        name: String,
        /// Base URL of the api.
        #[arg(long)]
        url: Option<Url>,
        /// Read the API key from standard input.
        #[arg(long)]
        api_key_stdin: bool,
    },
    /// Show a profile, without its key.
    Get {
        /// Profile name. Default: the current one.
        name: Option<String>,
    },
    /// List all profiles. The current one is marked with a star.
    List,
    /// Make a profile the current one.
    Use {
        /// Profile name.
        name: String,
    },
}

/// Base URL of an api, and the key to call it with.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    pub(super) url: Url,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) api_key: Option<String>,
}

/// All profiles, as stored in the file.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profiles {
    /// Name of the current profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// Runs the command.
pub(super) fn run(command: Command) -> Result<Exit> {
    let mut profiles = Profiles::read()?;
    let mut out = io::stdout();
    match command {
        Command::Set {
            name,
            url,
            api_key_stdin,
        } => {
            profiles.set(&name, url, api_key_stdin.then(read_key).transpose()?)?;
            profiles.write()?;
        }
        Command::Get { name } => {
            let profile = match &name {
                Some(name) => profiles.named(name)?,
                None => profiles.in_use()?.context(
                    "there is no profile; make one with darkroom profile set NAME --url URL",
                )?,
            };
            let key = profile.api_key.as_ref().map_or("none", |_| "set");
            writeln!(out, "url\t{}\napi_key\t{key}", profile.url)?;
        }
        Command::List => {
            for (name, profile) in &profiles.profiles {
                let is_current = profiles.current.as_ref() == Some(name);
                let star = if is_current { '*' } else { ' ' };
                writeln!(out, "{star} {name}\t{}", profile.url)?;
            }
        }
        Command::Use { name } => {
            profiles.named(&name)?;
            profiles.current = Some(name);
            profiles.write()?;
        }
    }
    Ok(Exit::Success)
}

fn read_key() -> Result<String> {
    let mut key = String::new();
    if io::stdin().is_terminal() {
        let terminal = console::Term::stderr();
        terminal.write_str("API key: ")?;
        key = terminal.read_secure_line()?;
    } else {
        io::stdin().take(1024).read_to_string(&mut key)?;
    }
    let key = key.trim().to_owned();
    ensure!(!key.is_empty(), "there is no API key on standard input");
    Ok(key)
}

impl Profiles {
    /// Reads the profiles of the current user; empty if there is no file.
    pub(super) fn read() -> Result<Self> {
        let path = path()?;
        let shown = path.display();
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .with_context(|| format!("cannot parse {shown}; fix it or remove it")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {shown}")),
        }
    }

    /// Returns the profile of this name.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn named(&self, name: &str) -> Result<&Profile> {
        match self.profiles.get(name) {
            Some(profile) => Ok(profile),
            None => bail!("there is no profile {name:?}; darkroom profile list shows all"),
        }
    }

    /// Returns the current profile, if there is one.
    pub(super) fn in_use(&self) -> Result<Option<&Profile>> {
        self.current
            .as_deref()
            .map(|name| self.named(name))
            .transpose()
    }

    fn set(&mut self, name: &str, url: Option<Url>, api_key: Option<String>) -> Result<()> {
        ensure!(!name.trim().is_empty(), "a profile needs a name");
        let known = self.profiles.get(name);
        // A new URL drops the key: it belongs to the former api.
        let kept = known
            .filter(|known| url.as_ref().is_none_or(|url| *url == known.url))
            .and_then(|known| known.api_key.clone());
        let url = url.or_else(|| known.map(|known| known.url.clone()));
        let profile = Profile {
            url: url.context("a new profile needs --url")?,
            api_key: api_key.or(kept),
        };
        self.profiles.insert(name.to_owned(), profile);
        self.current.get_or_insert_with(|| name.to_owned());
        Ok(())
    }

    /// Writes a temporary file with mode 0600 and renames it, so that a reader never sees half a
    /// file and no other user can read it.
    fn write(&self) -> Result<()> {
        let path = path()?;
        let directory = path
            .parent()
            .context("the file of profiles has no directory")?;
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(toml::to_string(self)?.as_bytes())?;
        file.persist(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(())
    }
}

fn path() -> Result<PathBuf> {
    let ours = AppStrategyArgs {
        app_name: "darkroom".to_owned(),
        ..AppStrategyArgs::default()
    };
    let home =
        Xdg::new(ours).context("there is no home directory to keep profiles in; set HOME")?;
    Ok(home.in_config_dir("profiles.toml"))
}
