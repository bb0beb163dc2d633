//! A host of outputs that can behave as badly as real ones do: what a URL asks for in its query is how it is answered.
//! Files are made up as they are sent, so that they may be of any size. For tests and benchmarks.

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

/// How much is written at a time.
const PIECE: usize = 256 * 1024;

/// How a file is handed over.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Manner {
    /// How long it is.
    pub(crate) bytes: u64,
    /// What it begins with, in hexadecimal; a PNG's first bytes by default.
    pub(crate) head: String,
    /// Misbehave for the first so many requests only.
    pub(crate) times: u32,
    /// Be there for so many requests, and gone then.
    pub(crate) serves: Option<u32>,
    /// Answer with this status and no file.
    pub(crate) status: Option<u16>,
    /// Answer with this page in HTML instead of the file.
    pub(crate) page: Option<String>,
    /// Say when to come again, in seconds.
    pub(crate) retry_after: Option<u32>,
    /// Say when to come again, as a date so many seconds from now.
    pub(crate) retry_date: Option<u32>,
    /// Wait for so many seconds before the answer begins.
    pub(crate) wait: Option<u32>,
    /// Refuse unless the address has this in it, letter by letter.
    pub(crate) verbatim: Option<String>,
    /// Point there.
    pub(crate) location: Option<String>,
    /// Do not say how long it is: `chunked`, or `close` for the end of the connection.
    pub(crate) framing: Option<Framing>,
    /// Break off after so many bytes.
    pub(crate) cut: Option<u64>,
    /// Send no more after so many bytes, and hold the connection.
    pub(crate) stall: Option<u64>,
    /// Send so many bytes a second.
    pub(crate) rate: Option<u32>,
    /// Announce so many bytes more than there are.
    pub(crate) overstate: u64,
    /// Let it be fetched in part.
    pub(crate) ranges: bool,
    /// Be another file each time.
    pub(crate) changes: bool,
    /// Answer a range with another one.
    pub(crate) wrong_range: bool,
    /// Say that it is of this type.
    pub(crate) content_type: Option<String>,
    /// Say that it is encoded so; `gzip` is meant.
    pub(crate) encoding: Option<String>,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Framing {
    /// By the last chunk.
    Chunked,
    /// By the end of the connection.
    Close,
}

impl Default for Manner {
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
    /// Where it listens.
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    accepting: AbortHandle,
}

/// What each path was asked for, and how many bytes it gave.
#[derive(Default)]
struct Seen(Mutex<BTreeMap<String, (u32, u64)>>);

impl SourceServer {
    /// Starts to serve on loopback.
    ///
    /// # Errors
    /// If no port is free.
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let seen = Arc::clone(&shared);
                tokio::spawn(async move {
                    // A client that goes away is no news.
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

    /// The URL of a file, with its manner as a query.
    #[must_use]
    pub(crate) fn url(&self, name: &str, manner: &str) -> String {
        format!("http://{}/{name}?{manner}", self.address)
    }

    /// How often a file was asked for.
    #[must_use]
    pub(crate) fn requests(&self, name: &str) -> u32 {
        self.seen.of(name).0
    }

    /// How many bytes of a file were handed over.
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

/// A request, as far as it matters.
struct Request {
    /// Its address, as it came.
    target: String,
    name: String,
    manner: Manner,
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
    let Manner {
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

/// The bytes of a file in its first version, for comparison.
#[must_use]
pub(crate) fn file(bytes: usize) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    file.resize(bytes, 1);
    file
}
