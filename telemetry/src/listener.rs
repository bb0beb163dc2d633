//! HTTP listener for Prometheus and for an orchestrator's probes (`METRICS_LISTEN`), separate from
//! the port of the callers. It exposes no secrets, but is meant for a private network.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Header timeout of a request, against slow clients.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Limit of open connections.
const CONNECTIONS: usize = 64;

/// Readiness check of a process: fails with what is wrong.
pub type Readiness = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Serves `/metrics`, `/healthz` and `/readyz` until `shutdown`.
///
/// # Errors
/// If the address cannot be bound.
pub async fn serve(
    address: SocketAddr,
    metrics: Metrics,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("METRICS_LISTEN: cannot listen on {address}"))?;
    tracing::info!(address = %listener.local_addr()?, "metrics are served");
    let answering = Answering { metrics, readiness };
    tokio::spawn(async move {
        shutdown
            .run_until_cancelled(accept(listener, answering))
            .await;
    });
    Ok(())
}

async fn accept(listener: TcpListener, answering: Answering) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let Ok((socket, _)) = listener.accept().await else {
            // Probably out of file descriptors: a pause lets connections end before the next
            // attempt.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let answering = answering.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answering.answer(request));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT);
            // Ignored: the client has disconnected.
            let _ = http.serve_connection(TokioIo::new(socket), service).await;
            drop(permit);
        });
    }
}

#[derive(Clone)]
struct Answering {
    metrics: Metrics,
    readiness: Readiness,
}

impl Answering {
    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (status, text) = match (request.method(), request.uri().path()) {
            (&Method::GET, "/metrics") => (StatusCode::OK, self.metrics.render()),
            (&Method::GET, "/healthz") => (StatusCode::OK, "ok\n".to_owned()),
            (&Method::GET, "/readyz") => match (self.readiness)().await {
                Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
                Err(problem) => (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")),
            },
            (&Method::GET, _) => (
                StatusCode::NOT_FOUND,
                "not found: the paths are /metrics, /healthz and /readyz\n".to_owned(),
            ),
            _ => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response.headers_mut().insert(
            CONTENT_TYPE,
            http::HeaderValue::from_static("text/plain; version=0.0.4"),
        );
        Ok(response)
    }
}
