//! Sources that answer with an HTTP status instead of a file, once or always.

use darkroom_client::types::failure::FailureType::{
    SourceExpired, SourceRejected, SourceUnavailable,
};

use super::{
    Source,
    outcome::Outcome::{Failed, Retried, Stored},
};

pub(super) const SOURCES: &[Source] = &[
    Source {
        name: "bad-request",
        query: "status=400",
        expected: Failed(SourceRejected),
    },
    Source {
        name: "unauthorized",
        query: "status=401",
        expected: Failed(SourceRejected),
    },
    Source {
        name: "forbidden",
        query: "status=403",
        expected: Failed(SourceRejected),
    },
    Source {
        name: "not-found",
        query: "status=404",
        expected: Failed(SourceExpired),
    },
    Source {
        name: "gone",
        query: "status=410",
        expected: Failed(SourceExpired),
    },
    Source {
        name: "status-418",
        query: "status=418",
        expected: Failed(SourceRejected),
    },
    Source {
        name: "no-content",
        query: "status=204",
        expected: Failed(SourceRejected),
    },
    Source {
        name: "request-timeout-once",
        query: "status=408&times=1",
        expected: Stored { attempts: 2 },
    },
    Source {
        name: "too-many-requests-once",
        query: "status=429&retry_after=1&times=1",
        expected: Stored { attempts: 2 },
    },
    Source {
        name: "too-many-requests-until-date",
        query: "status=429&retry_date=2&times=1",
        expected: Stored { attempts: 2 },
    },
    Source {
        name: "internal-server-error-once",
        query: "status=500&times=1",
        expected: Stored { attempts: 2 },
    },
    Source {
        name: "bad-gateway-once",
        query: "status=502&times=1",
        expected: Stored { attempts: 2 },
    },
    Source {
        name: "service-unavailable-always",
        query: "status=503",
        expected: Retried(SourceUnavailable),
    },
    Source {
        name: "too-many-requests-always",
        query: "status=429&retry_after=2",
        expected: Retried(SourceUnavailable),
    },
    Source {
        name: "not-found-at-first",
        query: "bytes=1000&status=404&times=3",
        expected: Stored { attempts: 1 },
    },
    Source {
        name: "forbidden-at-first",
        query: "bytes=9000000&status=403&times=2",
        expected: Stored { attempts: 1 },
    },
];
