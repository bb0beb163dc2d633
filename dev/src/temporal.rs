//! A Temporal dev server: the real server on `SQLite`, with its UI. It is started through the
//! Temporal CLI.

use std::{path::Path, process::Command};

use anyhow::{Result, bail, ensure};
use darkroom_workflows::search_attributes;
use futures::future::BoxFuture;
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, NamespacedClient, Url,
    grpc::WorkflowService, tonic::IntoRequest,
};
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeNamespaceRequest;

use super::{
    Options, READY_TIMEOUT, log_directory, ports,
    process::{self, Process},
};

/// Garbage collection of the server: the heap grows to five times the live heap before a
/// collection, up to [`GOMEMLIMIT`]. Takes a quarter less CPU than Go's default of 100.
/// <https://go.dev/doc/gc-guide>
pub const GOGC: &str = "400";
/// Memory limit up to which [`GOGC`] applies.
pub const GOMEMLIMIT: &str = "1GiB";

/// A running dev server. Dropping it stops it.
pub struct TemporalServer {
    /// Address of the frontend: `host:port`.
    pub address: String,
    /// Base URL of the UI, if it is served.
    pub ui: Option<String>,
    /// URL of its metrics, in Prometheus text format.
    pub metrics: String,
    process: Process,
}

impl TemporalServer {
    /// Starts the server and waits until its namespace exists.
    ///
    /// # Errors
    /// If no port is free, another process took the port, or the namespace does not exist within a
    /// minute.
    pub async fn start(cli: &Path, options: &Options) -> Result<Self> {
        let wanted = [
            ("temporal".to_owned(), 7233),
            ("temporal-metrics".to_owned(), 7234),
        ];
        let picked = ports::pick_all(options, &wanted).await?;
        let [address, metrics] = picked[..] else {
            bail!("no port was picked");
        };
        let ui = if options.temporal_ui {
            Some(ports::pick(options, "temporal-ui", 8233).await?)
        } else {
            None
        };
        let mut command = command(cli, options, address.port(), ui.map(|ui| ui.port()));
        command.args(["--metrics-port", &metrics.port().to_string()]);
        let process = Process::spawn("temporal", command, &log_directory(&options.directory))?;
        let server = Self {
            address: address.to_string(),
            ui: ui.map(|ui| format!("http://{ui}")),
            metrics: format!("http://{metrics}/metrics"),
            process,
        };
        let ready = async || match server.client().await {
            Ok(client) => has_namespace(client).await,
            Err(_) => false,
        };
        process::until("Temporal server", READY_TIMEOUT, &[&server.process], ready).await?;
        // Another server may have bound the port first and be the one that responds.
        ensure!(
            server.process.is_running(),
            "another process has taken {address}; try again"
        );
        Ok(server)
    }

    /// Process id of its supervisor.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills the server. Started again with the same options, it has the same port and data.
    pub fn kill(&self) {
        // The child is the supervisor, which kills the server when its pipe closes.
        self.process.stop();
    }

    /// Returns a client of the `default` namespace.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn client(&self) -> Result<Client> {
        connect(&self.address, "default").await
    }
}

/// Connects to a server of a stack.
pub(crate) fn connect<'a>(address: &'a str, namespace: &'a str) -> BoxFuture<'a, Result<Client>> {
    // Boxed here: a future is compiled where it is polled, and this one contains all calls of the
    // service.
    Box::pin(async move {
        let url: Url = format!("http://{address}").parse()?;
        let connection = Connection::connect(ConnectionOptions::new(url).build()).await?;
        let options = ClientOptions::new(namespace).build();
        Ok(Client::new(connection, options)?)
    })
}

/// Default rate limits of a production server per namespace: calls per second, visibility calls per
/// second, and concurrent long polls. <https://docs.temporal.io/references/dynamic-configuration>
const LIMITS: [(&str, u32); 3] = [
    ("frontend.namespaceRPS", 2400),
    ("frontend.namespaceRPS.visibility", 10),
    ("frontend.namespaceCount", 1200),
];

fn command(cli: &Path, options: &Options, port: u16, ui_port: Option<u16>) -> Command {
    let mut command = Command::new(&options.binary);
    command.env("GOGC", GOGC).env("GOMEMLIMIT", GOMEMLIMIT);
    command
        .args(["supervise", "--"])
        .arg(cli)
        .args(["server", "start-dev", "--ip", "127.0.0.1"]);
    command.args(["--log-level", "error", "--port", &port.to_string()]);
    command
        .arg("--db-filename")
        .arg(options.directory.join("temporal.db"));
    // Three times the throughput of the defaults. As durable if a process crashes, though not if
    // the machine does.
    command.args([
        "--sqlite-pragma",
        "journal_mode=WAL",
        "--sqlite-pragma",
        "synchronous=NORMAL",
    ]);
    // One node needs only one partition per task queue. Each further partition costs a poll.
    for key in [
        "matching.numTaskqueueReadPartitions",
        "matching.numTaskqueueWritePartitions",
    ] {
        command.args(["--dynamic-config-value", &format!("{key}=1")]);
    }
    // Limits of a production server, which a dev server raises by default.
    for (key, limit) in LIMITS {
        command.args(["--dynamic-config-value", &format!("{key}={limit}")]);
    }
    // A run can be deleted only once this interval has passed since its close, 30 s by default.
    command.args([
        "--dynamic-config-value",
        "history.transferProcessorUpdateAckInterval=\"1s\"",
    ]);
    // Fairness between tenants, by the fairness key of each task.
    command.args(["--dynamic-config-value", "matching.enableFairness=true"]);
    for name in search_attributes::NAMES {
        command.args(["--search-attribute", &format!("{name}=Keyword")]);
    }
    match ui_port {
        Some(port) => command.args(["--ui-port", &port.to_string()]),
        None => command.arg("--headless"),
    };
    command
}

async fn has_namespace(mut client: Client) -> bool {
    let request = DescribeNamespaceRequest {
        namespace: client.namespace(),
        ..Default::default()
    };
    WorkflowService::describe_namespace(&mut client, request.into_request())
        .await
        .is_ok()
}
