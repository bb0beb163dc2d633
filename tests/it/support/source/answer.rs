//! Answers of the host of outputs: a page, a status, or a file, as the request configures.

use std::{
    io,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    Traffic,
    config::{AnswerConfig, Framing},
    request::Request,
};

/// Longest write, in bytes.
const MAX_WRITE: usize = 256 * 1024;

/// Sends the answer to a request. `count` is its number among the requests for its file, from 1.
/// Returns true if the connection stays open.
///
/// # Errors
/// If the connection fails, or the configured head is not hexadecimal.
pub(super) async fn send(
    socket: &mut TcpStream,
    request: &Request,
    count: u32,
    traffic: &Traffic,
) -> io::Result<bool> {
    let config = &request.config;
    if let Some(seconds) = config.wait {
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    }
    if let Some(page) = config.page.as_ref().filter(|_| config.is_faulty(count)) {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        );
        socket.write_all(answer.as_bytes()).await?;
        return Ok(true);
    }
    if let Some(status) = status(request, count) {
        let answer = head_without_file(config, status);
        socket.write_all(answer.as_bytes()).await?;
        return Ok(true);
    }
    let file = FileAnswer::new(request, count);
    socket.write_all(file.head().as_bytes()).await?;
    if !file.send_body(socket, traffic).await? {
        return Ok(false);
    }
    Ok(config.framing != Some(Framing::Close) && config.overstate == 0)
}

/// Status to answer with instead of the file.
fn status(request: &Request, count: u32) -> Option<u16> {
    let config = &request.config;
    let is_gone = config.serves.is_some_and(|most| count > most);
    let verbatim = config.verbatim.as_ref();
    let is_rewritten = verbatim.is_some_and(|text| !request.target.contains(text));
    config
        .status
        .filter(|_| config.is_faulty(count))
        .or(is_gone.then_some(404))
        .or(is_rewritten.then_some(403))
}

/// Head of an answer with a status and no file.
fn head_without_file(config: &AnswerConfig, status: u16) -> String {
    let date = |seconds: u32| SystemTime::now() + Duration::from_secs(seconds.into());
    let retry_after = config.retry_after.map(|seconds| seconds.to_string());
    let retry_date = config
        .retry_date
        .map(|seconds| httpdate::fmt_http_date(date(seconds)));
    let retry = retry_after
        .or(retry_date)
        .map_or(String::new(), |value| format!("Retry-After: {value}\r\n"));
    let location = config
        .location
        .as_ref()
        .map_or(String::new(), |to| format!("Location: {to}\r\n"));
    format!("HTTP/1.1 {status} Configured\r\nContent-Length: 0\r\n{retry}{location}\r\n")
}

/// An answer with a file or the rest of one.
struct FileAnswer<'a> {
    request: &'a Request,
    /// Version of the file, which decides its content and its `ETag`.
    version: u32,
    /// First byte of the range, if the answer is one.
    range_start: Option<u64>,
    /// True if the faults apply.
    is_faulty: bool,
}

impl<'a> FileAnswer<'a> {
    fn new(request: &'a Request, count: u32) -> Self {
        let config = &request.config;
        let version = if config.changes { count } else { 1 };
        let if_range = request.if_range.as_ref();
        let is_same = if_range.is_none_or(|wanted| *wanted == etag(version));
        let range_start = request
            .range_start
            .filter(|start| config.ranges && is_same && *start < config.bytes);
        Self {
            request,
            version,
            range_start,
            is_faulty: config.is_faulty(count),
        }
    }

    /// First byte that is sent.
    fn start(&self) -> u64 {
        self.range_start.unwrap_or(0)
    }

    fn head(&self) -> String {
        let config = &self.request.config;
        let bytes = config.bytes;
        let mut lines = match self.range_start {
            Some(start) => {
                let shown = if config.wrong_range { start + 1 } else { start };
                vec![
                    "HTTP/1.1 206 Partial Content".to_owned(),
                    format!("Content-Range: bytes {shown}-{}/{bytes}", bytes - 1),
                ]
            }
            None => vec!["HTTP/1.1 200 OK".to_owned()],
        };
        lines.push(match config.framing {
            None => format!(
                "Content-Length: {}",
                bytes - self.start() + config.overstate
            ),
            Some(Framing::Chunked) => "Transfer-Encoding: chunked".to_owned(),
            Some(Framing::Close) => "Connection: close".to_owned(),
        });
        if config.ranges {
            lines.push("Accept-Ranges: bytes".to_owned());
            lines.push(format!("ETag: {}", etag(self.version)));
        }
        let content_type = config.content_type.iter();
        lines.extend(content_type.map(|value| format!("Content-Type: {value}")));
        let encoding = config.encoding.iter();
        lines.extend(encoding.map(|value| format!("Content-Encoding: {value}")));
        lines.join("\r\n") + "\r\n\r\n"
    }

    /// Sends the body. Returns false if it is cut.
    async fn send_body(&self, socket: &mut TcpStream, traffic: &Traffic) -> io::Result<bool> {
        let config = &self.request.config;
        let is_chunked = config.framing == Some(Framing::Chunked);
        let head = Bytes::from(hex::decode(&config.head).map_err(io::Error::other)?);
        let filler = Bytes::from(vec![
            u8::try_from(self.version % 251).unwrap_or(0);
            MAX_WRITE
        ]);
        let mut position = self.start();
        while position < config.bytes {
            if self.is_cut(position) {
                return Ok(false);
            }
            if self.is_stalled(position) {
                std::future::pending::<()>().await;
            }
            if config.hold.is_some_and(|hold| position >= hold) {
                traffic.released().await;
            }
            let length = self.write_length(position);
            let in_head = usize::try_from(position)
                .ok()
                .filter(|start| *start < head.len());
            let piece = match in_head {
                Some(start) => head.slice(start..(start + length).min(head.len())),
                None => filler.slice(..length),
            };
            if is_chunked {
                let size = format!("{:x}\r\n", piece.len());
                socket.write_all(size.as_bytes()).await?;
            }
            socket.write_all(&piece).await?;
            if is_chunked {
                socket.write_all(b"\r\n").await?;
            }
            position += piece.len() as u64;
            traffic.count_bytes(&self.request.name, piece.len() as u64);
            if let Some(rate) = self.rate() {
                let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
                tokio::time::sleep(Duration::from_secs(1) * length / rate).await;
            }
        }
        if is_chunked {
            socket.write_all(b"0\r\n\r\n").await?;
        }
        Ok(true)
    }

    /// True if the connection closes before this byte.
    fn is_cut(&self, position: u64) -> bool {
        let cut = self.request.config.cut.filter(|_| self.is_faulty);
        cut.is_some_and(|cut| position >= cut.max(self.start()))
    }

    /// Bytes per second, if they are limited.
    fn rate(&self) -> Option<u32> {
        self.request.config.rate.filter(|_| self.is_faulty)
    }

    /// True if nothing more is sent from this byte on.
    fn is_stalled(&self, position: u64) -> bool {
        let stall = self.request.config.stall.filter(|_| self.is_faulty);
        stall.is_some_and(|stall| position >= stall)
    }

    /// Length of the write that begins at this byte: up to the next fault, the byte that is held or
    /// the end of the file, and a tenth of a second's worth at most if the rate is limited.
    fn write_length(&self, position: u64) -> usize {
        let config = &self.request.config;
        let end = [config.cut, config.stall]
            .into_iter()
            .flatten()
            .filter(|_| self.is_faulty)
            .chain(config.hold)
            .filter(|byte| *byte > position)
            .fold(config.bytes, u64::min);
        let longest = self
            .rate()
            .map_or(MAX_WRITE, |rate| (rate / 10) as usize)
            .clamp(1, MAX_WRITE);
        longest.min(usize::try_from(end - position).unwrap_or(MAX_WRITE))
    }
}

/// `ETag` of a version of a file.
fn etag(version: u32) -> String {
    format!("\"{version}\"")
}
