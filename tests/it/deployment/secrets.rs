//! Secrets: the compose file holds none, and worker and api have their own keys of the store.

use super::{environment, read, services};

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
fn worker_and_api_have_their_own_keys_of_the_store() {
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
