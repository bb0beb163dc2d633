//! Redirects, URLs that must be requested as written, and addresses outside the source host.

use darkroom_client::types::failure::FailureType::{
    SourceForbidden, SourceRejected, SourceUnavailable,
};

use super::{
    Address, Source,
    outcome::Outcome::{Failed, Retried, Stored},
};

pub(super) const SOURCES: &[Source] = &[
    Source {
        name: "redirect",
        query: "status=302&times=1&location=redirect%3Fbytes=5000",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "second-redirect-without-location",
        query: "status=307&location=second-redirect-without-location%3Fstatus=307",
        expected: Failed(SourceRejected),
    },
    Source {
        name: "redirect-without-location",
        query: "status=301",
        expected: Failed(SourceRejected),
    },
    Source {
        name: "redirect-to-loopback",
        query: "status=302&location=http%3A%2F%2F127.0.0.1%3A22%2F",
        expected: Failed(SourceForbidden),
    },
    Source {
        name: "redirect-to-metadata-service",
        query: "status=302&location=http%3A%2F%2F169.254.169.254%2F",
        expected: Failed(SourceForbidden),
    },
    Source {
        name: "redirect-to-data-url",
        query: "status=302&location=data%3A%2Cabc",
        expected: Failed(SourceForbidden),
    },
    Source {
        name: "redirect-to-file-url",
        query: "status=302&location=file%3A%2F%2F%2Fetc%2Fpasswd",
        expected: Failed(SourceForbidden),
    },
    Source {
        name: "redirect-in-utf-8",
        query: "status=302&times=1&location=gro%C3%9F%3Fbytes=5000",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "redirect-with-quotes",
        query: "status=302&times=1&location=%2Fredirect-with-quotes%3Fbytes=5000%26verbatim='b'",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "signed-url-with-quotes",
        query: "bytes=1000&verbatim='a'|(b)~",
        expected: Stored { attempts: 1 },
    },
];

/// URLs that do not lead to the source host.
pub(super) const ADDRESSES: &[Address] = &[
    // As some providers write pictures into a `data:` URL, without percent-encoding.
    Address {
        name: "svg-data-url",
        url: "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'>\n\
              <path fill='#f00'/></svg>",
        expected: Stored { attempts: 1 },
    },
    Address {
        name: "forbidden-port",
        url: "http://127.0.0.1:1/",
        expected: Failed(SourceForbidden),
    },
    Address {
        name: "metadata-service",
        url: "http://169.254.169.254/latest",
        expected: Failed(SourceForbidden),
    },
    Address {
        name: "user-info",
        url: "http://user@example.com/",
        expected: Failed(SourceForbidden),
    },
    Address {
        name: "unknown-host",
        url: "http://nowhere.invalid/",
        expected: Retried(SourceUnavailable),
    },
];
