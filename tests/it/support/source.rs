//! An HTTP host of outputs that can behave as badly as real ones do. The query of a URL says how
//! the host answers. Files are generated as they are sent, so that they may have any size. For
//! tests and benchmarks.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// Size of one write, in bytes.
const PIECE: usize = 256 * 1024;

/// Configuration of one answer, parsed from the query of the URL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AnswerConfig {
    /// Length of the file, in bytes.
    pub(crate) bytes: u64,
    /// First bytes of the file in hexadecimal; a PNG signature by default.
    pub(crate) head: String,
    /// Number of requests to which the faults apply; later ones are answered without them.
    pub(crate) times: u32,
    /// Number of requests after which the file is gone (404).
    pub(crate) serves: Option<u32>,
    /// Status to answer with, without a file.
    pub(crate) status: Option<u16>,
    /// HTML page to answer with instead of the file.
    pub(crate) page: Option<String>,
    /// `Retry-After` in seconds.
    pub(crate) retry_after: Option<u32>,
    /// `Retry-After` as a date, this number of seconds from now.
    pub(crate) retry_date: Option<u32>,
    /// Delay before the answer begins, in seconds.
    pub(crate) wait: Option<u32>,
    /// Text that the request target must contain as written, without percent-encoding; otherwise
    /// the answer is 403.
    pub(crate) verbatim: Option<String>,
    /// `Location` header.
    pub(crate) location: Option<String>,
    /// Framing without a `Content-Length`: `chunked`, or `close` for the end of the connection.
    pub(crate) framing: Option<Framing>,
    /// Number of bytes after which the connection closes.
    pub(crate) cut: Option<u64>,
    /// Number of bytes after which nothing more is sent and the connection stays open.
    pub(crate) stall: Option<u64>,
    /// Bytes per second.
    pub(crate) rate: Option<u32>,
    /// Number of bytes that `Content-Length` announces beyond those that are sent.
    pub(crate) overstate: u64,
    /// True to serve range requests.
    pub(crate) ranges: bool,
    /// True to serve another file, with another `ETag`, for each request.
    pub(crate) changes: bool,
    /// True to answer a range request with a `Content-Range` that is off by one.
    pub(crate) wrong_range: bool,
    /// `Content-Type` header.
    pub(crate) content_type: Option<String>,
    /// `Content-Encoding` header. The body is sent as it is; `head` may hold an encoded one.
    pub(crate) encoding: Option<String>,
}

/// Framing of a body whose length is not announced.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Framing {
    /// The last chunk ends the body.
    Chunked,
    /// The end of the connection ends the body.
    Close,
}

impl Default for AnswerConfig {
    fn default() -> Self {
        Self {
            bytes: 1024,
            head: hex::encode(b"\x89PNG\r\n\x1a\n"),
            times: u32::MAX,
            serves: None,
            status: None,
            page: None,
            retry_after: None,
            retry_date: None,
            wait: None,
            verbatim: None,
            location: None,
            framing: None,
            cut: None,
            stall: None,
            rate: None,
            overstate: 0,
            ranges: false,
            changes: false,
            wrong_range: false,
            content_type: None,
            encoding: None,
        }
    }
}

/// A running host. Dropping it stops it.
pub(crate) struct SourceServer {
    /// Address on which it listens.
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    accepting: AbortHandle,
}

/// Number of requests and of bytes sent, by name of the file.
#[derive(Default)]
struct Seen(Mutex<BTreeMap<String, (u32, u64)>>);

impl SourceServer {
    /// Starts to serve on loopback.
    ///
    /// # Errors
    /// If no port on loopback can be bound.
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let seen = Arc::clone(&shared);
                tokio::spawn(async move {
                    // Ignored: the client has disconnected.
                    let _ = serve(socket, &seen).await;
                });
            }
        });
        Ok(Self {
            address,
            seen,
            accepting: accepting.abort_handle(),
        })
    }

    /// URL of a file, with an [`AnswerConfig`] as its query.
    #[must_use]
    pub(crate) fn url(&self, name: &str, manner: &str) -> String {
        format!("http://{}/{name}?{manner}", self.address)
    }

    /// Number of requests for a file.
    #[must_use]
    pub(crate) fn requests(&self, name: &str) -> u32 {
        self.seen.of(name).0
    }

    /// Number of bytes of a file that were sent, over all requests.
    #[must_use]
    pub(crate) fn bytes_sent(&self, name: &str) -> u64 {
        self.seen.of(name).1
    }
}

impl Drop for SourceServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Seen {
    fn of(&self, name: &str) -> (u32, u64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .copied()
            .unwrap_or_default()
    }

    fn count(&self, name: &str, requests: u32, bytes: u64) -> u32 {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = seen.entry(name.to_owned()).or_default();
        entry.0 += requests;
        entry.1 += bytes;
        entry.0
    }
}

/// The parts of a request that decide the answer.
struct Request {
    /// Request target, as received.
    target: String,
    name: String,
    manner: AnswerConfig,
    from: Option<u64>,
    if_range: Option<String>,
}

async fn serve(socket: TcpStream, seen: &Seen) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut socket = BufReader::new(socket);
    while let Some(request) = read(&mut socket).await? {
        let count = seen.count(&request.name, 1, 0);
        let stays = answer(socket.get_mut(), &request, count, seen).await?;
        if !stays {
            break;
        }
    }
    Ok(())
}

async fn read(socket: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if socket.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let target = line.split(' ').nth(1).unwrap_or_default();
    let (name, query) = target
        .trim_start_matches('/')
        .split_once('?')
        .unwrap_or((target, ""));
    let manner = serde_urlencoded::from_str(query).map_err(io::Error::other)?;
    let mut request = Request {
        target: target.to_owned(),
        name: name.to_owned(),
        manner,
        from: None,
        if_range: None,
    };
    loop {
        let mut header = String::new();
        socket.read_line(&mut header).await?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            return Ok(Some(request));
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                request.from = value
                    .trim_start_matches("bytes=")
                    .trim_end_matches('-')
                    .parse()
                    .ok();
            }
            "if-range" => request.if_range = Some(value.to_owned()),
            _ => {}
        }
    }
}

async fn answer(
    socket: &mut TcpStream,
    request: &Request,
    count: u32,
    seen: &Seen,
) -> io::Result<bool> {
    let AnswerConfig {
        bytes,
        framing,
        overstate,
        ranges,
        ..
    } = request.manner;
    let misbehaves = count <= request.manner.times;
    let manner = &request.manner;
    let is_gone = manner.serves.is_some_and(|most| count > most);
    let signed = manner.verbatim.as_ref();
    let is_rewritten = signed.is_some_and(|signed| !request.target.contains(signed));
    if let Some(seconds) = manner.wait {
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    }
    if let Some(page) = manner.page.as_ref().filter(|_| misbehaves) {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        );
        socket.write_all(answer.as_bytes()).await?;
        return Ok(true);
    }
    if let Some(status) = manner
        .status
        .filter(|_| misbehaves)
        .or(is_gone.then_some(404))
        .or(is_rewritten.then_some(403))
    {
        let date = |seconds: u32| SystemTime::now() + Duration::from_secs(seconds.into());
        let retry_after = manner.retry_after.map(|seconds| seconds.to_string());
        let retry_date = manner
            .retry_date
            .map(|seconds| httpdate::fmt_http_date(date(seconds)));
        let retry = retry_after
            .or(retry_date)
            .map_or(String::new(), |value| format!("Retry-After: {value}\r\n"));
        let location = manner
            .location
            .as_ref()
            .map_or(String::new(), |to| format!("Location: {to}\r\n"));
        let answer =
            format!("HTTP/1.1 {status} As Told\r\nContent-Length: 0\r\n{retry}{location}\r\n");
        socket.write_all(answer.as_bytes()).await?;
        return Ok(true);
    }
    let version = if manner.changes { count } else { 1 };
    let tag = format!("\"{version}\"");
    let is_same = request
        .if_range
        .as_ref()
        .is_none_or(|wanted| *wanted == tag);
    let from = request
        .from
        .filter(|from| ranges && is_same && *from < bytes);
    let begin = from.unwrap_or(0);

    let mut head = match from {
        Some(from) => {
            let shown = if manner.wrong_range { from + 1 } else { from };
            vec![
                "HTTP/1.1 206 Partial Content".to_owned(),
                format!("Content-Range: bytes {shown}-{}/{bytes}", bytes - 1),
            ]
        }
        None => vec!["HTTP/1.1 200 OK".to_owned()],
    };
    head.push(match framing {
        None => format!("Content-Length: {}", bytes - begin + overstate),
        Some(Framing::Chunked) => "Transfer-Encoding: chunked".to_owned(),
        Some(Framing::Close) => "Connection: close".to_owned(),
    });
    if ranges {
        head.extend(["Accept-Ranges: bytes".to_owned(), format!("ETag: {tag}")]);
    }
    head.extend(
        manner
            .content_type
            .iter()
            .map(|value| format!("Content-Type: {value}")),
    );
    head.extend(
        manner
            .encoding
            .iter()
            .map(|value| format!("Content-Encoding: {value}")),
    );
    let head = head.join("\r\n") + "\r\n\r\n";
    socket.write_all(head.as_bytes()).await?;

    let beginning = Bytes::from(hex::decode(&manner.head).map_err(io::Error::other)?);
    let filler = Bytes::from(vec![u8::try_from(version % 251).unwrap_or(0); PIECE]);
    let mut at = begin;
    while at < bytes {
        let mut stop = bytes;
        if misbehaves {
            if manner.cut.is_some_and(|cut| at >= cut.max(begin)) {
                return Ok(false);
            }
            if manner.stall.is_some_and(|stall| at >= stall) {
                std::future::pending::<()>().await;
            }
            stop = [manner.cut, manner.stall]
                .into_iter()
                .flatten()
                .filter(|limit| *limit > at)
                .fold(stop, u64::min);
        }
        let most = manner
            .rate
            .map_or(PIECE, |rate| (rate / 10) as usize)
            .clamp(1, PIECE);
        let most = most.min(usize::try_from(stop - at).unwrap_or(PIECE));
        let piece = match usize::try_from(at).ok().filter(|at| *at < beginning.len()) {
            Some(at) => beginning.slice(at..(at + most).min(beginning.len())),
            None => filler.slice(..most),
        };
        if framing == Some(Framing::Chunked) {
            socket
                .write_all(format!("{:x}\r\n", piece.len()).as_bytes())
                .await?;
        }
        socket.write_all(&piece).await?;
        if framing == Some(Framing::Chunked) {
            socket.write_all(b"\r\n").await?;
        }
        at += piece.len() as u64;
        seen.count(&request.name, 0, piece.len() as u64);
        if let Some(rate) = manner.rate {
            tokio::time::sleep(
                Duration::from_secs(1) * u32::try_from(piece.len()).unwrap_or(u32::MAX) / rate,
            )
            .await;
        }
    }
    if framing == Some(Framing::Chunked) {
        socket.write_all(b"0\r\n\r\n").await?;
    }
    Ok(framing != Some(Framing::Close) && overstate == 0)
}

/// Bytes of a file with the default head and without `changes`, for comparison.
#[must_use]
pub(crate) fn file(bytes: usize) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    file.resize(bytes, 1);
    file
}
