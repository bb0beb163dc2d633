//! Sources with unexpected content: other types, pages of HTML, and content encodings.

use darkroom_client::types::failure::FailureType::{SourceUnavailable, UnsupportedMedia};

use super::{
    Source,
    outcome::Outcome::{Failed, Retried, Stored},
};

pub(super) const SOURCES: &[Source] = &[
    Source {
        name: "html-content-type",
        query: "bytes=1000&content_type=text/html",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "html-page-at-first.png",
        query: "bytes=1000&page=%3Chtml%3E%3C%2Fhtml%3E&times=2",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "html-page-always.png",
        query: "page=%3Chtml%3E%3C%2Fhtml%3E",
        expected: Failed(UnsupportedMedia),
    },
    Source {
        name: "html-page",
        query: "page=%3Chtml%3E%3C%2Fhtml%3E",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "encoding-utf-8",
        query: "bytes=1000&encoding=UTF-8",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "encoding-aws-chunked",
        query: "bytes=9000000&encoding=aws-chunked",
        expected: Stored { attempts: 1 },
    },
    // 21 bytes, compressed to 41.
    Source {
        name: "encoding-gzip",
        query: "bytes=41&encoding=gzip&head=\
                1f8b08000000000002ff4b54484e2c28c9cccfd35148cecf2d284a2d2e4e4d010085a8c0fd15000000",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "encoding-x-gzip",
        query: "bytes=41&encoding=X-GZip&head=\
                1f8b08000000000002ff4b54484e2c28c9cccfd35148cecf2d284a2d2e4e4d010085a8c0fd15000000",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "encoding-brotli",
        query: "bytes=1000&encoding=br",
        expected: Failed(UnsupportedMedia),
    },
    Source {
        name: "encoding-invalid-gzip",
        query: "bytes=1000&encoding=gzip",
        expected: Retried(SourceUnavailable),
    },
];
