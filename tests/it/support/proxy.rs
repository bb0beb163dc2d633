//! A proxy between worker and store that injects the faults of bad networks and bad stores into
//! selected requests.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::missing_features::{Decision, MissingFeature};

/// S3 operation that a fault applies to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Operation {
    PutObject,
    HeadObject,
    GetObject,
    CreateUpload,
    UploadPart,
    CompleteUpload,
    AbortUpload,
    DeleteObject,
}

/// Fault that is injected into a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The proxy answers with this status and error code and does not forward the request.
    Refuse(u16, &'static str),
    /// The proxy answers with success and does not forward the request.
    Pretend,
    /// The proxy answers with status 200 and an error in the body, and does not forward the
    /// request.
    ErrorWithin,
    /// The request reaches the store, and the answer is lost.
    LoseAnswer,
    /// The connection closes before the request is forwarded.
    Drop,
    /// The connection closes after this number of bytes of the body.
    Cut(usize),
    /// One byte of the body is changed.
    Corrupt,
    /// The request is forwarded after a delay.
    Delay(Duration),
    /// The body of the answer follows its head after a delay.
    LateBody(Duration),
}

/// A running proxy.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    upstream: SocketAddr,
    faults: Arc<Mutex<Vec<Planned>>>,
    missing_feature: Arc<Mutex<Option<MissingFeature>>>,
    requests: Arc<AtomicU32>,
    completions: Arc<AtomicU32>,
    /// Parts of multipart uploads, in the order of their requests.
    parts: Arc<Mutex<Vec<SentPart>>>,
}

/// Part of a multipart upload, as it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentPart {
    /// Size in bytes, without any framing.
    pub(crate) size: usize,
    /// True if it was streamed, with its checksum in the trailer.
    pub(crate) is_streamed: bool,
}

struct Planned {
    within: String,
    operation: Operation,
    fault: Fault,
    times: u32,
}

struct Head {
    bytes: Vec<u8>,
    method: String,
    target: String,
    length: usize,
    /// Length without the framing of a trailer checksum, if there is one.
    decoded_length: Option<usize>,
    is_chunked: bool,
}

impl Proxy {
    pub(crate) async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let upstream = upstream.trim_start_matches("http://").parse().unwrap();
        let proxy = Self {
            endpoint,
            upstream,
            faults: Arc::default(),
            missing_feature: Arc::default(),
            requests: Arc::default(),
            completions: Arc::default(),
            parts: Arc::default(),
        };
        let serving = proxy.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let proxy = serving.clone();
                tokio::spawn(async move {
                    // Ignored: either side may close the connection.
                    let _ = proxy.serve(socket).await;
                });
            }
        });
        proxy
    }

    /// Plans a fault for the next `times` requests of an operation whose target contains `within`.
    pub(crate) fn plan(&self, within: &str, operation: Operation, fault: Fault, times: u32) {
        let planned = Planned {
            within: within.to_owned(),
            operation,
            fault,
            times,
        };
        self.faults.lock().unwrap().push(planned);
    }

    /// Removes the faults that were planned for targets with these words.
    pub(crate) fn remove_faults(&self, within: &str) {
        let mut faults = self.faults.lock().unwrap();
        faults.retain(|planned| planned.within != within);
    }

    /// Sets the feature that the store is missing from now on; `None` for a complete store.
    pub(crate) fn set_missing_feature(&self, feature: Option<MissingFeature>) {
        *self.missing_feature.lock().unwrap() = feature;
    }

    /// Number of requests so far.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Number of requests to complete an upload so far.
    pub(crate) fn completions(&self) -> u32 {
        self.completions.load(Ordering::Relaxed)
    }

    /// Parts that were sent so far.
    pub(crate) fn parts(&self) -> Vec<SentPart> {
        self.parts.lock().unwrap().clone()
    }

    /// Number of planned faults that have not been injected. Faults with 1000 or more repetitions
    /// left are permanent and do not count.
    pub(crate) fn left(&self, within: &str) -> u32 {
        let faults = self.faults.lock().unwrap();
        faults
            .iter()
            .filter(|planned| planned.within == within && planned.times < 1000)
            .map(|planned| planned.times)
            .sum()
    }

    fn fault(&self, head: &Head) -> Option<Fault> {
        let operation = head.operation()?;
        let mut faults = self.faults.lock().unwrap();
        let planned = faults.iter_mut().find(|planned| {
            planned.times > 0
                && planned.operation == operation
                && head.target.contains(&planned.within)
        })?;
        planned.times -= 1;
        Some(planned.fault)
    }

    async fn serve(&self, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut client = BufReader::new(client);
        let mut store: Option<BufReader<TcpStream>> = None;
        while let Some(mut request) = read_head(&mut client).await? {
            self.requests.fetch_add(1, Ordering::Relaxed);
            match request.operation() {
                Some(Operation::UploadPart) => self.parts.lock().unwrap().push(SentPart {
                    size: request.decoded_length.unwrap_or(request.length),
                    is_streamed: request.decoded_length.is_some(),
                }),
                Some(Operation::CompleteUpload) => {
                    self.completions.fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            }
            let missing_feature = *self.missing_feature.lock().unwrap();
            let decision = missing_feature.map_or(Decision::Pass, |feature| {
                feature.decide(&request.method, &request.target, &request.bytes)
            });
            match decision {
                Decision::Pass => {}
                Decision::Changed(head) => request.bytes = head,
                Decision::Refuse(status, code) => {
                    let body = format!("<Error><Code>{code}</Code></Error>");
                    answer(&mut client, &request, status, &body).await?;
                    continue;
                }
            }
            let fault = self.fault(&request);
            match fault {
                Some(Fault::Refuse(status, code)) => {
                    answer(
                        &mut client,
                        &request,
                        status,
                        &format!("<Error><Code>{code}</Code></Error>"),
                    )
                    .await?;
                    continue;
                }
                Some(Fault::Pretend) => {
                    answer(&mut client, &request, 200, "").await?;
                    continue;
                }
                Some(Fault::ErrorWithin) => {
                    let body =
                        "<Error><Code>InternalError</Code><Message>injected</Message></Error>";
                    answer(&mut client, &request, 200, body).await?;
                    continue;
                }
                Some(Fault::Drop) => return Ok(()),
                Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
                Some(Fault::LoseAnswer | Fault::Cut(_) | Fault::Corrupt | Fault::LateBody(_))
                | None => {}
            }
            let upstream = match &mut store {
                Some(upstream) => upstream,
                None => store.insert(BufReader::new(TcpStream::connect(self.upstream).await?)),
            };
            upstream.get_mut().write_all(&request.bytes).await?;
            match fault {
                Some(Fault::Cut(after)) => {
                    pass(
                        &mut client,
                        upstream.get_mut(),
                        after.min(request.length),
                        false,
                    )
                    .await?;
                    return Ok(());
                }
                Some(Fault::Corrupt) => {
                    pass(&mut client, upstream.get_mut(), request.length, true).await?;
                }
                _ => pass(&mut client, upstream.get_mut(), request.length, false).await?,
            }
            let Some(response) = read_head(upstream).await? else {
                return Ok(());
            };
            if matches!(fault, Some(Fault::LoseAnswer)) {
                return Ok(());
            }
            client.get_mut().write_all(&response.bytes).await?;
            if let Some(Fault::LateBody(delay)) = fault {
                tokio::time::sleep(delay).await;
            }
            if response.is_chunked {
                tokio::io::copy(upstream, client.get_mut()).await?;
                return Ok(());
            }
            if request.method != "HEAD" {
                pass(upstream, client.get_mut(), response.length, false).await?;
            }
            if response.says_close() {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Head {
    fn operation(&self) -> Option<Operation> {
        let has = |word: &str| self.target.contains(word);
        match self.method.as_str() {
            "PUT" if has("partNumber=") => Some(Operation::UploadPart),
            "PUT" => Some(Operation::PutObject),
            "HEAD" => Some(Operation::HeadObject),
            "GET" => Some(Operation::GetObject),
            "POST" if has("uploadId=") => Some(Operation::CompleteUpload),
            "POST" if has("?uploads") => Some(Operation::CreateUpload),
            "DELETE" if has("uploadId=") => Some(Operation::AbortUpload),
            "DELETE" => Some(Operation::DeleteObject),
            _ => None,
        }
    }

    fn says_close(&self) -> bool {
        String::from_utf8_lossy(&self.bytes)
            .to_ascii_lowercase()
            .contains("connection: close")
    }
}

async fn read_head(from: &mut BufReader<TcpStream>) -> io::Result<Option<Head>> {
    let mut bytes = Vec::new();
    let mut head = Head {
        bytes: vec![],
        method: String::new(),
        target: String::new(),
        length: 0,
        decoded_length: None,
        is_chunked: false,
    };
    loop {
        let begin = bytes.len();
        if from.read_until(b'\n', &mut bytes).await? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&bytes[begin..])
            .trim_end()
            .to_ascii_lowercase();
        if begin == 0 {
            let first = String::from_utf8_lossy(&bytes).into_owned();
            let mut words = first.split(' ').map(str::to_owned);
            head.method = words.next().unwrap_or_default();
            head.target = words.next().unwrap_or_default();
        } else if line.is_empty() {
            return Ok(Some(Head { bytes, ..head }));
        } else if let Some(length) = line.strip_prefix("content-length:") {
            head.length = length.trim().parse().map_err(io::Error::other)?;
        } else if let Some(length) = line.strip_prefix("x-amz-decoded-content-length:") {
            head.decoded_length = Some(length.trim().parse().map_err(io::Error::other)?);
        } else if line.starts_with("transfer-encoding:") {
            head.is_chunked = true;
        }
    }
}

/// Copies this number of bytes, unchanged or with one of them changed.
async fn pass(
    from: &mut BufReader<TcpStream>,
    to: &mut TcpStream,
    mut length: usize,
    corrupts: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    let mut at = 0;
    while length > 0 {
        let most = buffer.len().min(length);
        let read = from.read(&mut buffer[..most]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Byte 512 lies within the file itself, behind any chunk framing.
        if corrupts && (at..at + read).contains(&512) {
            buffer[512 - at] ^= 1;
        }
        to.write_all(&buffer[..read]).await?;
        at += read;
        length -= read;
    }
    Ok(())
}

async fn answer(
    client: &mut BufReader<TcpStream>,
    request: &Head,
    status: u16,
    body: &str,
) -> io::Result<()> {
    let mut rest = tokio::io::sink();
    tokio::io::copy(&mut client.take(request.length as u64), &mut rest).await?;
    let body = if request.method == "HEAD" { "" } else { body };
    let answer = format!(
        "HTTP/1.1 {status} Configured\r\nETag: \"made-up\"\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.get_mut().write_all(answer.as_bytes()).await
}
