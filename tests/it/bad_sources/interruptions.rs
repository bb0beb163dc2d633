//! Sources that break off, stall, or are slow.

use darkroom_client::types::failure::FailureType::SourceUnavailable;

use super::{
    Source,
    outcome::Outcome::{Retried, Stored},
};

pub(super) const SOURCES: &[Source] = &[
    Source {
        name: "cut-once",
        query: "bytes=1000000&cut=400000&times=1",
        expected: Stored { attempts: 2 },
    },
    Source {
        name: "cut-once-then-resumed",
        query: "bytes=1000000&cut=400000&times=1&ranges=true",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "cut-once-then-changed",
        query: "bytes=1000000&cut=400000&times=1&ranges=true&changes=true",
        expected: Stored { attempts: 2 },
    },
    Source {
        name: "cut-once-then-wrong-range",
        query: "bytes=1000000&cut=400000&times=1&ranges=true&wrong_range=true",
        expected: Stored { attempts: 2 },
    },
    Source {
        name: "cut-once-multipart",
        query: "bytes=20000000&cut=12000000&times=1&framing=chunked",
        expected: Stored { attempts: 2 },
    },
    Source {
        name: "cut-once-close-delimited",
        query: "bytes=1000000&framing=close&cut=400000&times=1",
        expected: Stored { attempts: 2 },
    },
    Source {
        name: "cut-always",
        query: "bytes=1000000&cut=400000",
        expected: Retried(SourceUnavailable),
    },
    Source {
        name: "content-length-too-large",
        query: "bytes=1000000&overstate=1",
        expected: Retried(SourceUnavailable),
    },
    Source {
        name: "delayed",
        query: "bytes=1000&wait=20",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "stalled-once",
        query: "bytes=1000000&stall=400000&times=1",
        expected: Stored { attempts: 2 },
    },
    Source {
        name: "slow",
        query: "bytes=1000000&rate=50000",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "too-slow",
        query: "bytes=1000000&rate=2000",
        expected: Retried(SourceUnavailable),
    },
];
