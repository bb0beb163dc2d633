//! Sources of every length and framing: empty, small, streamed, uploaded in parts, and too large.

use darkroom_client::types::failure::FailureType::{SourceTooLarge, UnsupportedMedia};

use super::{
    Source,
    outcome::Outcome::{Failed, Stored},
};

pub(super) const SOURCES: &[Source] = &[
    Source {
        name: "small",
        query: "bytes=1000",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "small-chunked",
        query: "bytes=1000&framing=chunked",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "small-close-delimited",
        query: "bytes=1000&framing=close",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "one-buffer",
        query: "bytes=8388608",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "one-buffer-chunked",
        query: "bytes=8388608&framing=chunked",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "streamed",
        query: "bytes=9000000",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "streamed-at-limit",
        query: "bytes=33554432",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "multipart",
        query: "bytes=70000000&ranges=true",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "multipart-chunked",
        query: "bytes=20000000&framing=chunked",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "multipart-close-delimited",
        query: "bytes=16777216&framing=close",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "empty",
        query: "bytes=0",
        expected: Failed(UnsupportedMedia),
    },
    Source {
        name: "empty-chunked",
        query: "bytes=0&framing=chunked",
        expected: Failed(UnsupportedMedia),
    },
    Source {
        name: "too-large",
        query: "bytes=200000000",
        expected: Failed(SourceTooLarge),
    },
    Source {
        name: "too-large-chunked",
        query: "bytes=200000000&framing=chunked",
        expected: Failed(SourceTooLarge),
    },
];
