//! Consistency of `docker-compose.yml`, the `Dockerfile` and `deploy/` with each other and with the
//! code. The compose file is read by the parser of the Compose specification.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use darkroom_dev::{
    production::{self, programs, temporal},
    versitygw,
};
use darkroom_workflows::search_attributes;
use serde_json::{Value, json};

use crate::support::harness::BINARY;

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
fn variables() -> BTreeMap<String, String> {
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
fn compose() -> &'static Value {
    static COMPOSE: OnceLock<Value> = OnceLock::new();
    COMPOSE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("docker-compose.yml");
        fs::write(
            &file,
            interpolated(&read("docker-compose.yml"), &variables()),
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
    compose()["services"].as_object().unwrap()
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

/// Port of an address or of a URL.
fn port(address: &str) -> &str {
    let address = address.trim_end_matches('/');
    let (_, port) = address.rsplit_once(':').unwrap();
    port.split('/').next().unwrap()
}

#[test]
fn images_are_pinned_and_of_the_versions_that_the_tests_run_on() {
    let version = |service: &str| {
        let image = services()[service]["image"].as_str().unwrap();
        let (_, tag) = image
            .rsplit_once(':')
            .unwrap_or_else(|| panic!("{image} has no version"));
        assert_ne!(tag, "latest", "{image}");
        tag.to_owned()
    };
    for service in services().keys() {
        version(service);
    }
    assert_eq!(version("temporal"), programs::SERVER_VERSION);
    assert_eq!(version("temporal-schema"), programs::SERVER_VERSION);
    assert_eq!(version("s3"), format!("v{}", versitygw::VERSION));
    let tools = read("tools/go.mod");
    assert!(tools.contains(&format!(
        "go.temporal.io/server v{}",
        programs::SERVER_VERSION
    )));
    assert!(tools.contains(&format!(
        "github.com/temporalio/ui-server/v2 v{}",
        version("temporal-ui")
    )));
    assert_eq!(version("worker"), env!("CARGO_PKG_VERSION"));
    assert!(read("Dockerfile").contains(&format!("ARG BUILD_ID={}", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn every_service_is_looked_after() {
    let jobs = ["temporal-schema", "temporal-namespace", "s3-bucket"];
    for (name, service) in services() {
        if jobs.contains(&name.as_str()) {
            assert!(service.get("restart").is_none(), "{name} runs once");
            let script = service["entrypoint"][0]
                .as_str()
                .unwrap()
                .trim_start_matches('/');
            let mode = fs::metadata(root().join(script))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o111, 0o111, "{script} can be run by anybody");
        } else {
            assert_eq!(service["restart"], "unless-stopped", "{name}");
            assert!(
                service["healthcheck"]["test"].is_array(),
                "{name} has no health check"
            );
        }
        for (other, dependency) in service
            .get("depends_on")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let condition = if jobs.contains(&other.as_str()) {
                "service_completed_successfully"
            } else {
                "service_healthy"
            };
            assert_eq!(
                dependency["condition"], condition,
                "{name} waits for {other}"
            );
        }
        for published in service
            .get("ports")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            assert_eq!(
                published["host_ip"], "127.0.0.1",
                "{name} is published to others"
            );
        }
    }
    for service in ["worker", "api"] {
        assert_eq!(services()[service]["read_only"], true);
        assert_eq!(services()[service]["cap_drop"], json!(["ALL"]));
    }
}

#[test]
fn what_is_ours_takes_so_much_memory_and_no_more() {
    for service in ["worker", "api"] {
        let limit = services()[service]["mem_limit"].as_str();
        assert!(
            limit.is_some_and(|limit| limit != "0"),
            "{service}: {limit:?}"
        );
    }
}

#[test]
fn what_is_mounted_is_there() {
    let mut volumes = BTreeSet::new();
    for (name, service) in services() {
        for mount in service
            .get("volumes")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let source = mount["source"].as_str().unwrap();
            if mount["type"] == "bind" {
                assert!(Path::new(source).exists(), "{name} mounts {source}");
                assert_eq!(mount["read_only"], true, "{name} may write to {source}");
            } else {
                volumes.insert(source.to_owned());
            }
        }
    }
    let named: BTreeSet<_> = compose()["volumes"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(volumes, named);
    let config = environment("temporal")["DYNAMIC_CONFIG_FILE_PATH"].clone();
    assert!(root().join(config.trim_start_matches('/')).exists());
}

#[test]
fn ports_agree() {
    let api = environment("api");
    assert_eq!(
        services()["api"]["ports"][0]["target"].to_string(),
        port(&api["DARKROOM_LISTEN"])
    );
    let metrics = port(&api["METRICS_LISTEN"]);
    for service in ["worker", "api"] {
        assert_eq!(port(&environment(service)["METRICS_LISTEN"]), metrics);
        assert_eq!(
            port(
                services()[service]["healthcheck"]["test"][3]
                    .as_str()
                    .unwrap()
            ),
            metrics
        );
        let temporal = &environment(service)["TEMPORAL_ADDRESS"];
        assert_eq!(
            services()["temporal"]["ports"][0]["target"].to_string(),
            port(temporal)
        );
        let s3 = &environment(service)["AWS_ENDPOINT_URL_S3"];
        assert_eq!(services()["s3"]["ports"][0]["target"].to_string(), port(s3));
    }
    let dockerfile = read("Dockerfile");
    assert!(dockerfile.contains(&format!("METRICS_LISTEN={}", api["METRICS_LISTEN"])));
    assert!(dockerfile.contains(&format!("DARKROOM_LISTEN={}", api["DARKROOM_LISTEN"])));
    assert!(dockerfile.contains(&format!(
        "EXPOSE {} {metrics}",
        port(&api["DARKROOM_LISTEN"])
    )));
    let prometheus = read("deploy/prometheus/prometheus.yml");
    assert_eq!(prometheus.matches(&format!("port: {metrics}\n")).count(), 2);
    assert!(prometheus.contains(&format!(
        "temporal:{}",
        port(&environment("temporal")["PROMETHEUS_ENDPOINT"])
    )));
}

#[test]
fn both_stacks_are_told_the_same() {
    let temporal = environment("temporal");
    let shares = &services()["worker"]["cpu_shares"];
    assert_eq!(*shares, production::WORKER_CPU_SHARES);
    assert_eq!(temporal["DB"], temporal::DRIVER);
    assert_eq!(temporal["GOGC"], darkroom_dev::temporal::GOGC);
    assert_eq!(temporal["GOMEMLIMIT"], darkroom_dev::temporal::GOMEMLIMIT);
    assert_eq!(
        environment("temporal")["NUM_HISTORY_SHARDS"],
        temporal::HISTORY_SHARDS.to_string()
    );
    for service in ["worker", "api", "temporal-namespace", "temporal-ui"] {
        assert_eq!(
            environment(service)["TEMPORAL_NAMESPACE"],
            production::NAMESPACE,
            "{service}"
        );
    }
    assert_eq!(
        environment("temporal-namespace")["TEMPORAL_RETENTION"],
        production::RETENTION
    );
    let namespace = read("deploy/temporal/namespace.sh");
    assert!(namespace.contains(&format!(
        "for name in {}; do",
        search_attributes::NAMES.join(" ")
    )));
}

/// Names of the variables that the code in a directory reads.
fn variables_of(directory: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for entry in fs::read_dir(root().join(directory)).unwrap() {
        let path = entry.unwrap().path();
        // `variable.rs` defines the type, and has example variables in its tests.
        if path.is_file() && !path.ends_with("variable.rs") {
            let text = fs::read_to_string(path).unwrap();
            let constants = text.split("Variable::new(").skip(1);
            let names = constants.filter_map(|rest| rest.trim_start().strip_prefix('"'));
            named.extend(names.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    named
}

/// Variables in the format that `darkroom variables` prints.
fn printed(format: &str) -> String {
    let print = Command::new(BINARY)
        .args(["variables", "--format", format])
        .output();
    let print = print.unwrap();
    assert!(print.status.success());
    String::from_utf8(print.stdout).unwrap()
}

/// The table in the README and `.env.example` match the program's own output. `INSTA_UPDATE=always`
/// rewrites both.
#[test]
fn variables_are_documented_as_the_program_knows_them() {
    const TABLE: &str = "| variable | of | default | meaning |\n";
    let (table, example) = (printed("markdown"), printed("env"));
    let named: BTreeSet<_> = ["config/src", "storage/src", "worker/src", "api/src"]
        .into_iter()
        .flat_map(variables_of)
        .collect();
    assert!(named.len() > 40, "{named:?}");
    for name in &named {
        assert!(
            table.contains(&format!("| `{name}` |")),
            "{name} is not printed"
        );
    }
    let readme = read("README.md");
    let begin = readme.find(TABLE).unwrap();
    let end = begin + readme[begin..].find("\n\n").unwrap() + 1;
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        let updated = [&readme[..begin], &table, &readme[end..]].concat();
        fs::write(root().join("README.md"), updated).unwrap();
        fs::write(root().join(".env.example"), &example).unwrap();
        return;
    }
    assert_eq!(&readme[begin..end], table, "the table of the README");
    assert_eq!(read(".env.example"), example, ".env.example");
}

/// Variables in the compose file reach the services that read them, and no other variable is set.
#[test]
fn variables_reach_who_reads_them() {
    // The image sets its own build id, and the store of the compose stack needs no S3 options.
    let unset = [
        "WORKER_BUILD_ID",
        "S3_CHECKSUMS",
        "S3_CONDITIONAL_WRITES",
        "S3_KMS_KEY_ID",
        "S3_PATH_STYLE",
        "S3_SERVER_SIDE_ENCRYPTION",
    ];
    for service in ["worker", "api"] {
        let crates = ["config/src", "storage/src", &format!("{service}/src")];
        let read: BTreeSet<_> = crates.iter().flat_map(|of| variables_of(of)).collect();
        let variables = environment(service);
        for name in read.iter().filter(|name| !unset.contains(&name.as_str())) {
            assert!(
                variables.contains_key(name),
                "{service} does not get {name}"
            );
        }
        for name in variables.keys() {
            let is_standard = ["TEMPORAL_", "AWS_", "OTEL_", "RUST_"]
                .iter()
                .any(|of| name.starts_with(of));
            assert!(
                is_standard || read.contains(name),
                "{service} gets {name}, which it does not read"
            );
        }
    }
}

#[test]
fn the_compose_file_holds_no_secret() {
    for line in read("docker-compose.yml").lines() {
        let Some((name, value)) = line.trim().split_once(": ") else {
            continue;
        };
        let secret = ["PASSWORD", "PWD", "SECRET", "_KEY", "KEYS", "TOKEN"]
            .iter()
            .any(|part| name.contains(part));
        let is_reference = value.starts_with("${")
            || value.starts_with('*')
            || value.starts_with("&database-password ${");
        assert!(!secret || is_reference, "{line}");
        assert!(
            !secret || !value.contains(":-") || value.contains(":-}"),
            "a default secret: {line}"
        );
    }
}

#[test]
fn the_image_is_built_of_all_that_the_workspace_needs() {
    let ignored = read(".dockerignore");
    let manifest = read("Cargo.toml");
    let members = manifest
        .lines()
        .find(|line| line.starts_with("members = "))
        .unwrap();
    for member in members
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|member| *member != ".")
    {
        assert!(
            ignored.contains(&format!("!{member}\n")),
            "{member} does not get into the image"
        );
    }
    let targets = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"")?.split('"').next());
    for target in targets.chain(["benches/http.rs", "src/main.rs", "Cargo.lock"]) {
        let known = ignored
            .lines()
            .filter_map(|line| line.strip_prefix('!'))
            .any(|part| target.starts_with(part));
        assert!(known, "{target} does not get into the image");
    }
}

#[test]
fn worker_and_api_have_keys_of_the_store_of_their_own() {
    let setup = environment("s3-bucket");
    let root = &setup["AWS_ACCESS_KEY_ID"];
    let gateway = environment("s3");
    assert_eq!(&gateway["ROOT_ACCESS_KEY"], root);
    assert_eq!(gateway["ROOT_SECRET_KEY"], setup["AWS_SECRET_ACCESS_KEY"]);
    for (service, user) in [("worker", "S3_WORKER"), ("api", "S3_API")] {
        let variables = environment(service);
        for part in ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"] {
            let key = &variables[&format!("AWS_{part}")];
            assert_eq!(key, &setup[&format!("{user}_{part}")], "{service}");
        }
        assert_ne!(&variables["AWS_ACCESS_KEY_ID"], root, "{service}");
        assert_eq!(variables["S3_KEY_PREFIX"], setup["S3_KEY_PREFIX"]);
    }
    assert_ne!(
        setup["S3_WORKER_ACCESS_KEY_ID"],
        setup["S3_API_ACCESS_KEY_ID"]
    );
    let services = services();
    let others = services
        .iter()
        .filter(|(name, _)| !["s3", "s3-bucket"].contains(&name.as_str()));
    for (name, service) in others {
        let has_root_key = service.to_string().contains(root.as_str());
        assert!(!has_root_key, "{name} has the root key");
    }
}
