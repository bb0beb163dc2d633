//! Request bodies that are sent while their bytes arrive: framed as `aws-chunked` with the CRC-32
//! in the trailer (trailer checksum), so that the store verifies what was not known when the
//! request began. Nothing is copied, and nothing is hashed for the signature, which the SDK would
//! do on plain HTTP.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut,
    },
    error::BoxError,
    primitives::{ByteStream, SdkBody},
};
use bytes::Bytes;
use darkroom_types::sha256::Sha256;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::digest::Crc32;

/// Size of a chunk of the framing in bytes: large, as each chunk costs two more pieces to send, but
/// some stores hold a chunk in memory.
const CHUNK: u64 = 4 * 1024 * 1024;

const TRAILER: &str = "x-amz-checksum-crc32";

/// Length of a CRC-32 in base64, in bytes.
const CRC32_LENGTH: u64 = 8;

/// Creates a body of exactly `length` bytes, and the sender of these bytes.
#[must_use]
pub fn streamed(length: u64) -> (ChunkSender, ByteStream) {
    let (sender, receiver) = mpsc::channel(2);
    let body = AwsChunkedBody {
        receiver,
        left: encoded_length(length),
    };
    let frames = ChunkSender {
        sender,
        crc: Crc32::new(),
        left: length,
        left_in_chunk: 0,
    };
    (frames, ByteStream::new(SdkBody::from_body_1_x(body)))
}

/// Sender of the bytes of a streaming body.
pub struct ChunkSender {
    sender: mpsc::Sender<Bytes>,
    crc: Crc32,
    left: u64,
    left_in_chunk: u64,
}

/// Error: the request has ended without taking the whole body.
#[derive(Debug)]
pub struct Closed;

impl ChunkSender {
    /// Returns the number of bytes still to be sent.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Sends bytes, at most as many as are [left](Self::left).
    ///
    /// # Errors
    /// If the request has ended.
    pub async fn send(&mut self, mut bytes: Bytes) -> Result<(), Closed> {
        self.crc.update(&bytes);
        while !bytes.is_empty() {
            if self.left_in_chunk == 0 {
                self.left_in_chunk = self.left.min(CHUNK);
                self.emit(format!("{:x}\r\n", self.left_in_chunk).into())
                    .await?;
            }
            let taken = bytes.split_to(
                bytes
                    .len()
                    .min(usize::try_from(self.left_in_chunk).unwrap_or(usize::MAX)),
            );
            let length = taken.len() as u64;
            self.emit(taken).await?;
            self.left = self.left.saturating_sub(length);
            self.left_in_chunk -= length;
            if self.left_in_chunk == 0 {
                self.emit(Bytes::from_static(b"\r\n")).await?;
            }
        }
        Ok(())
    }

    /// Returns the CRC-32 of the bytes sent so far.
    #[must_use]
    pub fn checksum(&self) -> String {
        self.crc.finish()
    }

    /// Sends the trailer, and returns the CRC-32 of all bytes.
    ///
    /// # Errors
    /// If the request has ended.
    pub async fn finish(self) -> Result<String, Closed> {
        let crc = self.crc.finish();
        self.emit(format!("0\r\n{TRAILER}:{crc}\r\n\r\n").into())
            .await?;
        Ok(crc)
    }

    async fn emit(&self, bytes: Bytes) -> Result<(), Closed> {
        self.sender.send(bytes).await.map_err(|_| Closed)
    }
}

fn encoded_length(length: u64) -> u64 {
    let chunk = |size: u64| u64::from(hex_digits(size)) + 2 + size + 2;
    let rest = length % CHUNK;
    let end = "0\r\n".len() as u64 + TRAILER.len() as u64 + 1 + CRC32_LENGTH + 4;
    length / CHUNK * chunk(CHUNK) + if rest > 0 { chunk(rest) } else { 0 } + end
}

fn hex_digits(number: u64) -> u32 {
    number.checked_ilog2().map_or(1, |log| log / 4 + 1)
}

/// Body as the HTTP client reads it.
struct AwsChunkedBody {
    receiver: mpsc::Receiver<Bytes>,
    left: u64,
}

impl Body for AwsChunkedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match ready!(self.receiver.poll_recv(context)) {
            Some(bytes) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                Some(Ok(Frame::data(bytes)))
            }
            None if self.left == 0 => None,
            None => Some(Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the source broke off",
            ))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Signing of a request's payload.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Unsigned: the connection and a checksum protect it.
    Unsigned,
    /// Signed by its SHA-256, which is known already.
    Hashed(Sha256),
    /// Unsigned with a trailer checksum: a [`streamed`] body of this length in bytes.
    Streamed(u64),
}

impl Intercept for Payload {
    fn name(&self) -> &'static str {
        "Payload"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let signing = match self {
            Self::Unsigned => PayloadSigningOverride::UnsignedPayload,
            Self::Hashed(sha256) => PayloadSigningOverride::Precomputed(sha256.to_string()),
            Self::Streamed(length) => {
                let request = context.request_mut();
                // AWS requires this header and does not store it. Other stores recognize the
                // framing by the signature, and would return the header to every reader.
                let is_aws = request.uri().contains(".amazonaws.");
                let headers = request.headers_mut();
                if is_aws {
                    headers.insert("content-encoding", "aws-chunked");
                }
                headers.insert("content-length", encoded_length(*length).to_string());
                headers.insert("x-amz-decoded-content-length", length.to_string());
                headers.insert("x-amz-trailer", TRAILER);
                PayloadSigningOverride::StreamingUnsignedPayloadTrailer
            }
        };
        config.interceptor_state().store_put(signing);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_digits_are_counted() {
        assert_eq!(
            (
                hex_digits(1),
                hex_digits(15),
                hex_digits(16),
                hex_digits(CHUNK)
            ),
            (1, 1, 2, 6)
        );
    }

    #[tokio::test]
    async fn a_body_has_its_announced_length() {
        for length in [1, 15, 16, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let (mut frames, mut body) = streamed(length);
            let feed = async move {
                let mut left = usize::try_from(length).unwrap();
                while left > 0 {
                    let piece = left.min(300_000);
                    frames.send(Bytes::from(vec![7; piece])).await.unwrap();
                    left -= piece;
                }
                frames.finish().await.unwrap();
            };
            let drink = async move {
                let mut total = 0;
                while let Some(bytes) = body.try_next().await.unwrap() {
                    total += bytes.len() as u64;
                }
                total
            };
            let ((), total) = futures::join!(feed, drink);
            assert_eq!(total, encoded_length(length), "{length}");
        }
    }
}
