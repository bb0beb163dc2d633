//! Requests to the host of outputs.

use std::io;

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
};

use super::config::AnswerConfig;

/// Parts of a request that decide the answer.
pub(super) struct Request {
    /// Request target, as received.
    pub(super) target: String,
    /// Name of the file.
    pub(super) name: String,
    /// Configuration of the answer, from the query.
    pub(super) config: AnswerConfig,
    /// First byte that the `Range` header asks for.
    pub(super) range_start: Option<u64>,
    /// `If-Range` header.
    pub(super) if_range: Option<String>,
}

impl Request {
    /// Reads the next request of a connection. Returns `None` at the end of the connection.
    ///
    /// # Errors
    /// If the connection fails, or the query is no configuration.
    pub(super) async fn read(socket: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if socket.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let target = line.split(' ').nth(1).unwrap_or_default();
        let (name, query) = target
            .trim_start_matches('/')
            .split_once('?')
            .unwrap_or((target, ""));
        let config = serde_urlencoded::from_str(query).map_err(io::Error::other)?;
        let mut request = Self {
            target: target.to_owned(),
            name: name.to_owned(),
            config,
            range_start: None,
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
                    request.range_start = value
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
}
