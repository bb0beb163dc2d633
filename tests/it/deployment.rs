//! Consistency of `docker-compose.yml`, the `Dockerfile` and `deploy/` with each other and with the
//! code. The compose file is read by the parser of the Compose specification.
//!
//! - [`compose`]: services of the compose file, and the image
//! - [`variables`]: environment variables, in the documentation and in the compose file
//! - [`secrets`]: secrets of the compose file, and keys of the store

mod compose;
mod secrets;
mod variables;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;

/// Parser of compose files: <https://github.com/compose-spec/compose-go>.
const PARSER: &str = "github.com/compose-spec/compose-go/v2/cmd@v2.16.2";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Installs the parser if it is not installed yet, and returns its path.
fn parser() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compose-go");
    fs::create_dir_all(&directory).unwrap();
    let lock = File::create(directory.join("lock")).unwrap();
    lock.lock().unwrap();
    let program = directory.join("cmd");
    if !program.exists() {
        let installed = Command::new("go")
            .env("GOBIN", &directory)
            .args(["install", PARSER])
            .status()
            .unwrap();
        assert!(installed.success());
    }
    program
}

/// Variables of a new installation: the `.env` that `deploy/new-env.sh` writes, and the values that
/// an operator adds.
fn new_installation() -> BTreeMap<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(".env");
    let made = Command::new(root().join("deploy/new-env.sh"))
        .arg(&file)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o077,
        0,
        "the file is readable by others"
    );
    let again = Command::new(root().join("deploy/new-env.sh"))
        .arg(&file)
        .output()
        .unwrap();
    assert!(!again.status.success(), "secrets are never overwritten");
    let text = fs::read_to_string(file).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='));
    let mut variables: BTreeMap<_, _> = lines
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    // Values that the script cannot know.
    variables.insert("REPLICATE_API_TOKEN".to_owned(), "r8_token".to_owned());
    variables.insert(
        "DARKROOM_PUBLIC_URL".to_owned(),
        "https://darkroom.example.com".to_owned(),
    );
    variables
}

/// Interpolates variables into a compose file. The parser's command does not use its environment
/// for that.
fn interpolated(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut rest = text;
    let mut whole = String::new();
    while let Some((before, after)) = rest.split_once("${") {
        let (expression, after) = after.split_once('}').unwrap();
        let (name, default) = match expression.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (
                expression
                    .split_once(":?")
                    .map_or(expression, |(name, _)| name),
                None,
            ),
        };
        let value = variables
            .get(name)
            .filter(|value| !value.is_empty())
            .map(String::as_str)
            .or(default);
        whole += before;
        whole += value.unwrap_or_else(|| panic!("{name} has no value in a new installation"));
        rest = after;
    }
    whole + rest
}

/// The compose file, parsed and normalized to JSON.
fn compose_file() -> &'static Value {
    static COMPOSE: OnceLock<Value> = OnceLock::new();
    COMPOSE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("docker-compose.yml");
        fs::write(
            &file,
            interpolated(&read("docker-compose.yml"), &new_installation()),
        )
        .unwrap();
        let parsed = Command::new(parser())
            .args(["-format", "json"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(
            parsed.status.success(),
            "{}",
            String::from_utf8_lossy(&parsed.stderr)
        );
        let text = String::from_utf8(parsed.stdout).unwrap();
        // The parser resolves relative paths against the directory of the temporary file.
        let text = text.replace(directory.path().to_str().unwrap(), root().to_str().unwrap());
        serde_json::from_str(&text).unwrap()
    })
}

fn services() -> &'static serde_json::Map<String, Value> {
    compose_file()["services"].as_object().unwrap()
}

fn environment(service: &str) -> BTreeMap<String, String> {
    let environment = services()[service]["environment"].as_object().unwrap();
    environment
        .iter()
        .map(|(name, value)| {
            (
                name.clone(),
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            )
        })
        .collect()
}
