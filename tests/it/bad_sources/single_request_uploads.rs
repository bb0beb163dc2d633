//! Faults of the store while an output is uploaded in one request.

use std::time::Duration;

use darkroom_client::types::failure::FailureType::{StorageRejected, StorageUnavailable};

use super::{
    FaultyRequests::{All, First},
    StoreFault,
    outcome::Outcome::{Retried, Stored},
};
use crate::support::proxy::{Fault, Operation};

const SMALL: &str = "bytes=1000";
const STREAMED: &str = "bytes=9000000";

pub(super) const FAULTS: &[StoreFault] = &[
    StoreFault {
        name: "put-throttled",
        query: SMALL,
        operation: Operation::PutObject,
        fault: Fault::Refuse(503, "SlowDown"),
        requests: First(1),
        expected: Stored { attempts: 1 },
    },
    StoreFault {
        name: "put-internal-error",
        query: SMALL,
        operation: Operation::PutObject,
        fault: Fault::Refuse(500, "InternalError"),
        requests: First(3),
        expected: Stored { attempts: 2 },
    },
    StoreFault {
        name: "put-access-denied-once",
        query: SMALL,
        operation: Operation::PutObject,
        fault: Fault::Refuse(403, "AccessDenied"),
        requests: First(1),
        expected: Stored { attempts: 2 },
    },
    StoreFault {
        name: "put-access-denied-always",
        query: SMALL,
        operation: Operation::PutObject,
        fault: Fault::Refuse(403, "AccessDenied"),
        requests: All,
        expected: Retried(StorageRejected),
    },
    StoreFault {
        name: "put-throttled-always",
        query: SMALL,
        operation: Operation::PutObject,
        fault: Fault::Refuse(503, "SlowDown"),
        requests: All,
        expected: Retried(StorageUnavailable),
    },
    StoreFault {
        name: "put-connection-closed",
        query: SMALL,
        operation: Operation::PutObject,
        fault: Fault::Drop,
        requests: First(1),
        expected: Stored { attempts: 1 },
    },
    StoreFault {
        name: "put-response-lost",
        query: SMALL,
        operation: Operation::PutObject,
        fault: Fault::LoseAnswer,
        requests: First(1),
        expected: Stored { attempts: 1 },
    },
    StoreFault {
        name: "put-not-stored",
        query: SMALL,
        operation: Operation::PutObject,
        fault: Fault::Pretend,
        requests: First(1),
        expected: Stored { attempts: 2 },
    },
    StoreFault {
        name: "put-corrupted",
        query: SMALL,
        operation: Operation::PutObject,
        fault: Fault::Corrupt,
        requests: First(1),
        expected: Stored { attempts: 2 },
    },
    StoreFault {
        name: "put-delayed",
        query: SMALL,
        operation: Operation::PutObject,
        fault: Fault::Delay(Duration::from_secs(2)),
        requests: First(1),
        expected: Stored { attempts: 1 },
    },
    StoreFault {
        name: "streamed-head-internal-error",
        query: STREAMED,
        operation: Operation::HeadObject,
        fault: Fault::Refuse(500, "InternalError"),
        requests: First(3),
        expected: Stored { attempts: 2 },
    },
    StoreFault {
        name: "streamed-head-shows-other-object",
        query: STREAMED,
        operation: Operation::HeadObject,
        fault: Fault::Pretend,
        requests: First(1),
        expected: Stored { attempts: 2 },
    },
    StoreFault {
        name: "streamed-put-throttled",
        query: STREAMED,
        operation: Operation::PutObject,
        fault: Fault::Refuse(503, "SlowDown"),
        requests: First(1),
        expected: Stored { attempts: 2 },
    },
    StoreFault {
        name: "streamed-put-connection-closed",
        query: STREAMED,
        operation: Operation::PutObject,
        fault: Fault::Drop,
        requests: First(1),
        expected: Stored { attempts: 2 },
    },
    StoreFault {
        name: "streamed-put-cut",
        query: STREAMED,
        operation: Operation::PutObject,
        fault: Fault::Cut(3_000_000),
        requests: First(1),
        expected: Stored { attempts: 2 },
    },
    StoreFault {
        name: "streamed-put-response-lost",
        query: STREAMED,
        operation: Operation::PutObject,
        fault: Fault::LoseAnswer,
        requests: First(1),
        expected: Stored { attempts: 1 },
    },
    StoreFault {
        name: "streamed-put-not-stored",
        query: STREAMED,
        operation: Operation::PutObject,
        fault: Fault::Pretend,
        requests: First(1),
        expected: Stored { attempts: 2 },
    },
    StoreFault {
        name: "streamed-put-corrupted",
        query: STREAMED,
        operation: Operation::PutObject,
        fault: Fault::Corrupt,
        requests: First(1),
        expected: Stored { attempts: 2 },
    },
];
