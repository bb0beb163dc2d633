//! Outputs whose key in the store already holds an object, with other bytes or with the same ones.

use aws_sdk_s3::primitives::ByteStream;
use darkroom_client::types::failure::FailureType::StorageConflict;

use super::{
    Case, Cases,
    outcome::Outcome::{Failed, Stored},
};
use crate::support::{context::TestContext, source};

/// Name of the case of an object with other bytes.
pub(super) const DIFFERENT: &str = "existing-object-different";
/// Name of the case of an object with the same bytes.
const SAME: &str = "existing-object-same";

const LENGTH: usize = 9_000_000;

/// Starts the jobs, and puts the objects before the outputs are generated.
pub(super) async fn start(context: &TestContext) -> Cases {
    let query = format!("bytes={LENGTH}");
    let different = context.accept(&context.source.url(DIFFERENT, &query)).await;
    let same = context.accept(&context.source.url(SAME, &query)).await;
    for (id, bytes) in [(different, vec![7; LENGTH]), (same, source::file(LENGTH))] {
        let put = context
            .store
            .put_object()
            .bucket(&context.bucket)
            .key(format!("jobs/{id}/0.png"))
            .content_type("image/png");
        put.body(ByteStream::from(bytes)).send().await.unwrap();
    }
    Cases::from([
        (
            DIFFERENT,
            Case {
                id: different,
                expected: Failed(StorageConflict),
            },
        ),
        (
            SAME,
            Case {
                id: same,
                expected: Stored { attempts: 1 },
            },
        ),
    ])
}
