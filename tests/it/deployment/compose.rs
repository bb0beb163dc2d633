//! Services of the compose file: images, dependencies, limits, mounts and ports, the same settings
//! as in the production stack without Docker, and the files that the image is built from.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path};

use darkroom_dev::{
    production::{self, programs, temporal},
    temporal_cli, versitygw,
};
use darkroom_workflows::search_attributes;
use serde_json::{Value, json};

use super::{compose_file, environment, read, root, services};

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
    let cached = format!("darkroom/temporal-{}", temporal_cli::VERSION);
    assert!(read("docs/operations.md").contains(&cached), "{cached}");
    assert_eq!(version("worker"), env!("CARGO_PKG_VERSION"));
    assert!(read("Dockerfile").contains(&format!("ARG BUILD_ID={}", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn every_service_has_a_restart_policy_and_a_health_check() {
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
fn worker_and_api_have_memory_limits() {
    for service in ["worker", "api"] {
        let limit = services()[service]["mem_limit"].as_str();
        assert!(
            limit.is_some_and(|limit| limit != "0"),
            "{service}: {limit:?}"
        );
    }
}

/// A proxy on the machine reaches a published port from the gateway of the network.
#[test]
fn a_proxy_on_the_machine_is_trusted() {
    let network = &compose_file()["networks"]["default"]["ipam"]["config"][0];
    let gateway = network["gateway"].as_str().unwrap();
    let environment = environment("api");
    let trusted = &environment["DARKROOM_TRUSTED_PROXIES"];
    assert!(
        trusted
            .split(',')
            .any(|network| network == format!("{gateway}/32")),
        "{trusted}"
    );
}

#[test]
fn mounted_files_exist() {
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
    let named: BTreeSet<_> = compose_file()["volumes"]
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
fn both_stacks_have_the_same_settings() {
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

#[test]
fn the_image_is_built_from_all_that_the_workspace_needs() {
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
