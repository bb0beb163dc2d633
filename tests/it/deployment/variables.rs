//! Environment variables: the documentation lists all that the program reads, and the compose file
//! sets them for the services that read them.

use std::{collections::BTreeSet, fs, process::Command};

use super::{environment, read, root};
use crate::support::harness::BINARY;

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
fn variables_reach_the_services_that_read_them() {
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
