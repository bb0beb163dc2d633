//! Faults of the store while an output is uploaded in parts.

use darkroom_client::types::failure::FailureType::SourceTooLarge;

use super::{
    FaultyRequests::{First, Second},
    StoreFault,
    outcome::Outcome::{Failed, Stored},
};
use crate::support::proxy::{Fault, Operation};

const MULTIPART: &str = "bytes=20000000&framing=chunked";
const LARGE: &str = "bytes=70000000&ranges=true";

pub(super) const FAULTS: &[StoreFault] = &[
    StoreFault {
        name: "create-throttled",
        query: MULTIPART,
        operation: Operation::CreateUpload,
        fault: Fault::Refuse(503, "SlowDown"),
        requests: First(1),
        expected: Stored { attempts: 1 },
    },
    StoreFault {
        name: "part-internal-error",
        query: MULTIPART,
        operation: Operation::UploadPart,
        fault: Fault::Refuse(500, "InternalError"),
        requests: First(1),
        expected: Stored { attempts: 1 },
    },
    StoreFault {
        name: "part-connection-closed",
        query: MULTIPART,
        operation: Operation::UploadPart,
        fault: Fault::Drop,
        requests: First(1),
        expected: Stored { attempts: 1 },
    },
    StoreFault {
        name: "part-cut",
        query: MULTIPART,
        operation: Operation::UploadPart,
        fault: Fault::Cut(100_000),
        requests: First(1),
        expected: Stored { attempts: 1 },
    },
    StoreFault {
        name: "part-corrupted",
        query: MULTIPART,
        operation: Operation::UploadPart,
        fault: Fault::Corrupt,
        requests: First(1),
        expected: Stored { attempts: 2 },
    },
    StoreFault {
        name: "complete-error-in-body",
        query: MULTIPART,
        operation: Operation::CompleteUpload,
        fault: Fault::ErrorWithin,
        requests: First(1),
        expected: Stored { attempts: 1 },
    },
    StoreFault {
        name: "complete-response-lost",
        query: MULTIPART,
        operation: Operation::CompleteUpload,
        fault: Fault::LoseAnswer,
        requests: First(1),
        expected: Stored { attempts: 1 },
    },
    StoreFault {
        name: "complete-internal-error",
        query: MULTIPART,
        operation: Operation::CompleteUpload,
        fault: Fault::Refuse(500, "InternalError"),
        requests: First(3),
        expected: Stored { attempts: 2 },
    },
    StoreFault {
        name: "second-large-part-cut",
        query: "bytes=140000000&ranges=true",
        operation: Operation::UploadPart,
        fault: Fault::Cut(30_000_000),
        requests: Second,
        expected: Stored { attempts: 2 },
    },
    StoreFault {
        name: "large-complete-internal-error",
        query: LARGE,
        operation: Operation::CompleteUpload,
        fault: Fault::Refuse(500, "InternalError"),
        requests: First(3),
        expected: Stored { attempts: 2 },
    },
    StoreFault {
        name: "large-part-corrupted",
        query: LARGE,
        operation: Operation::UploadPart,
        fault: Fault::Corrupt,
        requests: First(1),
        expected: Stored { attempts: 2 },
    },
    StoreFault {
        name: "abort-internal-error",
        query: "bytes=200000000&framing=chunked",
        operation: Operation::AbortUpload,
        fault: Fault::Refuse(500, "InternalError"),
        requests: First(3),
        expected: Failed(SourceTooLarge),
    },
];
