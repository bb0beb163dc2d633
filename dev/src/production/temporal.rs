//! Temporal's server on PostgreSQL, with all of its services in one process, and its UI.

use std::{net::SocketAddr, process::Command, time::Duration};

use anyhow::Result;
use temporalio_client::Client;

use super::{
    NAMESPACE,
    postgres::{Postgres, ROLE},
    programs::Programs,
    scripts::{self, Secrets},
};
use crate::{
    Options, log_directory, ports,
    process::{self, Process},
    temporal::{GOGC, GOMEMLIMIT, connect},
};

/// Driver of PostgreSQL: pgx keeps prepared statements, where lib/pq (`postgres12`) has PostgreSQL
/// parse and plan each one anew, which is a third of its CPU.
/// <https://github.com/jackc/pgx/wiki/Automatic-Prepared-Statement-Caching>
pub const DRIVER: &str = "postgres12_pgx";

/// Number of history shards. It cannot be changed later.
pub const HISTORY_SHARDS: u32 = 128;

/// The services, each with its default port for gRPC and for membership.
const SERVICES: [(&str, u16, u16); 4] = [
    ("FRONTEND", 7233, 6933),
    ("HISTORY", 7234, 6934),
    ("MATCHING", 7235, 6935),
    ("WORKER", 7239, 6939),
];

/// A running server and its UI. Dropping it stops both.
pub struct Temporal {
    /// Address of the frontend: `host:port`.
    pub address: String,
    /// Base URL of the UI.
    pub ui: String,
    /// Address of its own metrics.
    pub metrics: SocketAddr,
    server: Process,
    ui_server: Process,
}

impl Temporal {
    pub(super) async fn start(
        programs: &Programs,
        options: &Options,
        postgres: &Postgres,
        secrets: &Secrets,
    ) -> Result<Self> {
        let mut command = supervised(options);
        command
            .arg(&programs.server)
            .args(["--allow-no-auth", "start"]);
        command
            .env("DB", DRIVER)
            .env("POSTGRES_SEEDS", postgres.address.ip().to_string())
            .env("DB_PORT", postgres.address.port().to_string())
            .env("POSTGRES_USER", ROLE)
            .env("POSTGRES_PWD", secrets.get("POSTGRES_PASSWORD")?)
            .env("NUM_HISTORY_SHARDS", HISTORY_SHARDS.to_string())
            .env(
                "DYNAMIC_CONFIG_FILE_PATH",
                scripts::deploy().join("temporal/dynamic-config.yaml"),
            )
            .env("LOG_LEVEL", "warn")
            .env("GOGC", GOGC)
            .env("GOMEMLIMIT", GOMEMLIMIT)
            .env("BIND_ON_IP", "127.0.0.1");
        let components: Vec<_> = SERVICES
            .iter()
            .flat_map(|(service, port, peers)| {
                [
                    (format!("temporal-{service}"), *port),
                    (format!("temporal-{service}-peers"), *peers),
                ]
            })
            .collect();
        let addresses = ports::pick_all(options, &components).await?;
        for ((service, ..), of_service) in SERVICES.iter().zip(addresses.chunks_exact(2)) {
            command.env(
                format!("{service}_GRPC_PORT"),
                of_service[0].port().to_string(),
            );
            command.env(
                format!("{service}_MEMBERSHIP_PORT"),
                of_service[1].port().to_string(),
            );
        }
        let http = ports::pick(options, "temporal-http", 7243).await?;
        let metrics = ports::pick(options, "temporal-metrics", 9091).await?;
        command
            .env("FRONTEND_HTTP_PORT", http.port().to_string())
            .env("PROMETHEUS_ENDPOINT", metrics.to_string());
        let server = Process::spawn("temporal", command, &log_directory(&options.directory))?;
        // The frontend is the first of the services.
        let address = addresses[0].to_string();

        let ui = ports::pick(options, "temporal-ui", 8233).await?;
        let config = options.directory.join("temporal-ui");
        std::fs::create_dir_all(&config)?;
        std::fs::copy(
            scripts::deploy().join("temporal/ui.yaml"),
            config.join("docker.yaml"),
        )?;
        let mut command = supervised(options);
        command
            .arg(&programs.ui)
            .arg("--root")
            .arg(&options.directory)
            .args(["--config", "temporal-ui"]);
        command
            .args(["--env", "docker", "start"])
            .env("TEMPORAL_ADDRESS", &address)
            .env("TEMPORAL_NAMESPACE", NAMESPACE)
            .env("TEMPORAL_UI_HOST", ui.ip().to_string())
            .env("TEMPORAL_UI_PORT", ui.port().to_string());
        let ui_server = Process::spawn("temporal-ui", command, &log_directory(&options.directory))?;

        let temporal = Self {
            address,
            ui: format!("http://{ui}"),
            metrics,
            server,
            ui_server,
        };
        let answers = async || temporal.client().await.is_ok();
        let processes = [&temporal.server, &temporal.ui_server];
        process::until(
            "Temporal server",
            Duration::from_mins(2),
            &processes,
            answers,
        )
        .await?;
        Ok(temporal)
    }

    /// Process id of the server's supervisor.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.server.id()
    }

    /// Stops the server and its UI.
    pub(super) fn stop(&self) {
        self.server.stop();
        self.ui_server.stop();
    }

    /// Returns a client of the stack's namespace.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn client(&self) -> Result<Client> {
        connect(&self.address, NAMESPACE).await
    }
}

fn supervised(options: &Options) -> Command {
    let mut command = Command::new(&options.binary);
    command.args(["supervise", "--"]);
    command
}
