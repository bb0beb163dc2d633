//! HTTP host of outputs whose answers are configured by the query of each URL, with the faults of
//! real hosts. Files are generated as they are sent, so that they may have any size. For tests and
//! benchmarks. Faults of the store are in `proxy`.
//!
//! - [`config`]: configuration of an answer
//! - [`request`]: reading of a request
//! - [`answer`]: sending of an answer

// Explicit paths, because the benchmark `persist` includes this file by a path, which changes where
// its modules are searched for.
#[path = "source/answer.rs"]
mod answer;
#[path = "source/config.rs"]
mod config;
#[path = "source/request.rs"]
mod request;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::BufReader,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
};

use self::{config::PNG_SIGNATURE, request::Request};

/// A running host. Dropping it stops it.
pub(crate) struct SourceServer {
    /// Address on which it listens.
    pub(crate) address: SocketAddr,
    traffic: Arc<Traffic>,
    accepting: AbortHandle,
}

impl SourceServer {
    /// Starts to serve on loopback.
    ///
    /// # Errors
    /// If no port on loopback can be bound.
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let traffic = Arc::new(Traffic::default());
        let shared = Arc::clone(&traffic);
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let traffic = Arc::clone(&shared);
                tokio::spawn(async move {
                    // Ignored: the client has disconnected.
                    let _ = serve(socket, &traffic).await;
                });
            }
        });
        Ok(Self {
            address,
            traffic,
            accepting: accepting.abort_handle(),
        })
    }

    /// URL of a file, with an [`AnswerConfig`](config::AnswerConfig) as its query.
    #[must_use]
    pub(crate) fn url(&self, name: &str, query: &str) -> String {
        format!("http://{}/{name}?{query}", self.address)
    }

    /// Sends the rest of the files that are held, and holds none from now on.
    pub(crate) fn release(&self) {
        self.traffic.released.send_replace(true);
    }

    /// Number of requests for a file.
    #[must_use]
    pub(crate) fn requests(&self, name: &str) -> u32 {
        self.traffic.of(name).requests
    }

    /// Number of bytes of a file that were sent, over all requests.
    #[must_use]
    pub(crate) fn bytes_sent(&self, name: &str) -> u64 {
        self.traffic.of(name).bytes_sent
    }
}

impl Drop for SourceServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Bytes of a file with the default head and without `changes`, for comparison.
#[must_use]
pub(crate) fn file(bytes: usize) -> Vec<u8> {
    let mut file = PNG_SIGNATURE.to_vec();
    file.resize(bytes, 1);
    file
}

async fn serve(socket: TcpStream, traffic: &Traffic) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut socket = BufReader::new(socket);
    while let Some(request) = Request::read(&mut socket).await? {
        let count = traffic.count_request(&request.name);
        let stays_open = answer::send(socket.get_mut(), &request, count, traffic).await?;
        if !stays_open {
            break;
        }
    }
    Ok(())
}

/// Traffic so far, by name of the file, and whether files that are held are released.
#[derive(Default)]
struct Traffic {
    files: Mutex<BTreeMap<String, FileTraffic>>,
    released: watch::Sender<bool>,
}

/// Traffic of one file.
#[derive(Clone, Copy, Default)]
struct FileTraffic {
    requests: u32,
    bytes_sent: u64,
}

impl Traffic {
    fn of(&self, name: &str) -> FileTraffic {
        self.lock().get(name).copied().unwrap_or_default()
    }

    /// Counts a request, and returns the number of requests for the file so far.
    fn count_request(&self, name: &str) -> u32 {
        let mut files = self.lock();
        let file = files.entry(name.to_owned()).or_default();
        file.requests += 1;
        file.requests
    }

    /// Counts bytes that were sent.
    fn count_bytes(&self, name: &str, bytes: u64) {
        self.lock().entry(name.to_owned()).or_default().bytes_sent += bytes;
    }

    async fn released(&self) {
        let mut released = self.released.subscribe();
        // It cannot fail: `self` owns the sender.
        let _ = released.wait_for(|released| *released).await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, FileTraffic>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
