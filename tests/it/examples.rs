//! The programs in `examples/`, which callers copy from: each against a stack with API keys.

use std::{net::TcpListener, path::Path, time::Duration};

use tokio::process::Command;

use crate::support::{
    api::Api,
    harness::{api_key_entry, options_with, start},
};

/// Timeout of installing and running all of them, on a machine that has never built any.
const TIMEOUT: Duration = Duration::from_mins(8);

#[tokio::test]
async fn every_example_succeeds() {
    const KEY: &str = "a key of the examples";
    let port = free_port();
    let variables = [
        ("WEBHOOK_ALLOW", &*format!("127.0.0.1:{port}")),
        ("DARKROOM_API_KEYS", &api_key_entry("acme", KEY)),
    ];
    let stack = start(&options_with("examples", &variables)).await;
    let api = Api::with_key(stack.api_url(), KEY);
    let secret = api.client.webhook_secret().await.unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/run");
    let mut run = Command::new(script);
    run.env("DARKROOM_URL", stack.api_url())
        .env("DARKROOM_API_KEY", KEY)
        .env("DARKROOM_TENANT", "acme")
        .env("DARKROOM_WEBHOOK_SECRET", secret.key)
        .env("TEMPORAL_ADDRESS", &stack.temporal.address)
        .env("PORT", port.to_string())
        .kill_on_drop(true);
    // `cargo test` has built them, unless it builds this test alone.
    let program = std::env::current_exe().unwrap();
    let rust = program.ancestors().nth(2).unwrap().join("examples");
    if ["create", "receive"]
        .iter()
        .all(|name| rust.join(name).exists())
    {
        run.env("RUST_EXAMPLES", rust);
    }
    let output = tokio::time::timeout(TIMEOUT, run.output()).await;
    let output = output.expect("done in time").unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr]
        .map(String::from_utf8)
        .map(Result::unwrap);
    assert!(output.status.success(), "{stdout}{stderr}");
    let done = stdout
        .lines()
        .filter(|line| line.contains("should") || line.contains("204"));
    assert_eq!(done.count(), 10, "{stdout}");
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
