//! The listener: accepts a bounded number of connections, serves HTTP/1.1 and HTTP/2 without TLS,
//! disconnects slow clients, and drains requests in flight on a graceful shutdown.
//!
//! - `timeouts`: header timeout and idle timeout of a connection
//! - `idle`: requests in flight on a connection
//! - `response_body`: bytes of responses that are still held

mod idle;
mod response_body;
mod timeouts;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use poem::{
    Addr, Endpoint, Response,
    endpoint::BoxEndpoint,
    http::{Request, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::idle::IdleTimeout;
use self::{idle::IdleTracker, response_body::ResponseBody, timeouts::TimeoutStream};
use crate::{
    access::{Peers, Sender, SenderCell},
    metrics::GaugeGuard,
};

/// Timeout of an HTTP/2 keep-alive ping.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Drain timeout: the longest time that requests in flight get on a graceful shutdown.
const DRAIN: Duration = Duration::from_secs(20);

/// Limit of concurrent streams, each a request in flight, on one HTTP/2 connection.
const MAX_STREAMS: u32 = 250;

/// Backoff after a failed accept, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accept backlog: connections that the kernel queues until they are accepted, if the system allows
/// as many (`net.core.somaxconn`). Beyond it the kernel drops connection attempts, and clients wait
/// until they send them again.
const BACKLOG: u32 = 4096;

/// Response to a peer that has too many connections.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Binds an address. From here on, clients can connect.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `shutdown`, then drains.
pub(crate) async fn serve(
    listener: TcpListener,
    endpoint: BoxEndpoint<'static, Response>,
    max_connections: usize,
    idle_timeout: IdleTimeout,
    peers: Arc<Peers>,
    shutdown: CancellationToken,
) {
    let endpoint = Arc::new(endpoint);
    let permits = Arc::new(Semaphore::new(max_connections));
    let builder = builder();
    let graceful = GracefulShutdown::new();
    loop {
        // Clients without a free slot wait in the kernel's accept backlog.
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            accepted = accepted => accepted,
            () = shutdown.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(local) = stream.local_addr() else {
            continue;
        };
        let mut share = peers
            .connections
            .share(peers.connected(peer.ip()).map(Sender::Peer));
        if !share.grow(1) {
            // Best effort: sent only if the socket buffer takes it at once.
            let _ = stream.try_write(TOO_MANY);
            continue;
        }
        let _ = stream.set_nodelay(true);
        let endpoint = Arc::clone(&endpoint);
        let tracker = IdleTracker::new(idle_timeout);
        let requests = tracker.clone();
        let senders = Arc::clone(&peers);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (endpoint, mut under_way) = (Arc::clone(&endpoint), requests.begin());
            let (local, remote) = (
                LocalAddr(Addr::SocketAddr(local)),
                RemoteAddr(Addr::SocketAddr(peer)),
            );
            let senders = Arc::clone(&senders);
            let sender = SenderCell::default();
            request.extensions_mut().insert(sender.clone());
            // Boxed, so that a request's memory is freed when it is answered, not when its
            // connection closes.
            Box::pin(async move {
                let response = endpoint
                    .get_response((request, local, remote, Scheme::HTTP).into())
                    .await;
                let response = poem::http::Response::from(response);
                under_way.answer();
                let sender = sender.get();
                let shares = Arc::clone(senders.responses(sender.as_ref()));
                Ok::<_, Infallible>(
                    response.map(|body| ResponseBody::new(body, under_way, &shares, sender)),
                )
            })
        });
        let connection = builder
            .serve_connection(
                TokioIo::new(TimeoutStream::new(stream, tracker.clone())),
                service,
            )
            .into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _counted = GaugeGuard::connection();
            tokio::select! {
                served = connection => if let Err(error) = served {
                    tracing::debug!(%peer, %error, "a connection failed");
                },
                () = tracker.until_idle() => {}
            }
            drop((permit, share));
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("drain timed out after {DRAIN:?}: requests in flight were cut off");
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // Hyper's header timeout also applies to idle keep-alive connections; `TimeoutStream`
    // distinguishes the two.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(64)
        .max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(16 * 1024)
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
