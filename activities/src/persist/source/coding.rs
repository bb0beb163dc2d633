//! Content codings of responses, and decoding them. Requests accept none, but some hosts encode all
//! the same, and some uploaders write values into `Content-Encoding` that are no content codings.

use std::{
    io,
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use async_compression::tokio::bufread::GzipDecoder;
use bytes::{Bytes, BytesMut};
use darkroom_workflows::failure::FailureType;
use futures::{Stream, StreamExt, TryStreamExt};
use reqwest::{
    Response,
    header::{self, HeaderMap},
};
use tokio::io::AsyncReadExt;
use tokio_util::io::StreamReader;

use super::failures::{broken, unavailable};
use crate::failure::Failure;

/// Content codings that cannot be decoded here.
/// <https://www.iana.org/assignments/http-parameters/http-parameters.xhtml#content-coding>
const UNSUPPORTED: [&str; 10] = [
    "aes128gcm",
    "br",
    "compress",
    "x-compress",
    "dcb",
    "dcz",
    "deflate",
    "exi",
    "pack200-gzip",
    "zstd",
];

/// Size of a decoded chunk, in bytes.
const PIECE: usize = 64 * 1024;

/// Content coding of a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Coding {
    /// The bytes are the file.
    Identity,
    /// The bytes are the file in gzip.
    Gzip,
}

impl Coding {
    /// Returns the coding of a response. Values that are no content codings, such as `UTF-8` or
    /// `aws-chunked`, are ignored.
    ///
    /// # Errors
    /// If the coding cannot be decoded.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let mut coding = Self::Identity;
        let values = headers.get_all(header::CONTENT_ENCODING).iter();
        let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        for name in names {
            let name = String::from_utf8_lossy(name).trim().to_ascii_lowercase();
            let is_gzip = matches!(name.as_str(), "gzip" | "x-gzip");
            // A body that is encoded twice is not supported.
            if UNSUPPORTED.contains(&name.as_str()) || (is_gzip && coding == Self::Gzip) {
                let detail =
                    format!("the output's host sent an unsupported content coding: {name:?}");
                return Err(Failure::new(FailureType::UnsupportedMedia, detail));
            }
            if is_gzip {
                coding = Self::Gzip;
            }
        }
        Ok(coding)
    }
}

type Encoded = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// The body of a response.
pub(super) enum Body {
    /// The bytes as they arrive.
    Plain(Response),
    /// The bytes decoded from gzip. The lock is never contended; it makes the type `Sync`.
    Gzip(Mutex<Box<GzipDecoder<StreamReader<Encoded, Bytes>>>>),
}

impl Body {
    /// Decodes the body from gzip.
    pub(super) fn gunzip(self) -> Self {
        match self {
            Self::Plain(response) => {
                let encoded: Encoded = response.bytes_stream().map_err(io::Error::other).boxed();
                let mut decoder = GzipDecoder::new(StreamReader::new(encoded));
                decoder.multiple_members(true);
                Self::Gzip(Mutex::new(Box::new(decoder)))
            }
            gzip @ Self::Gzip(_) => gzip,
        }
    }

    /// Returns the next bytes; `None` at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Plain(response) => response.chunk().await.map_err(broken),
            Self::Gzip(decoder) => {
                let decoder = decoder.get_mut().unwrap_or_else(PoisonError::into_inner);
                let mut piece = BytesMut::with_capacity(PIECE);
                match decoder.read_buf(&mut piece).await {
                    Ok(0) => Ok(None),
                    Ok(_) => Ok(Some(piece.freeze())),
                    Err(error) => Err(match error.downcast::<reqwest::Error>() {
                        Ok(error) => broken(error),
                        Err(_) => unavailable("the output is not valid gzip"),
                    }),
                }
            }
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Gzip(_) => "Gzip",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_encodings_parse() {
        let coding = |value: &str| {
            let headers =
                HeaderMap::from_iter([(header::CONTENT_ENCODING, value.parse().unwrap())]);
            Coding::of(&headers).map_err(|failure| failure.kind())
        };
        for none in [
            "",
            "identity",
            "UTF-8",
            "aws-chunked",
            "binary",
            "none",
            "8bit",
        ] {
            assert_eq!(coding(none), Ok(Coding::Identity), "{none}");
        }
        for gzip in [
            "gzip",
            "GZIP",
            "x-gzip",
            "aws-chunked, gzip",
            "gzip,identity",
        ] {
            assert_eq!(coding(gzip), Ok(Coding::Gzip), "{gzip}");
        }
        for real in ["br", "Zstd", "deflate", "gzip, br", "gzip, gzip"] {
            assert_eq!(
                coding(real),
                Err(Some(FailureType::UnsupportedMedia)),
                "{real}"
            );
        }
    }
}
