//! What the store can do beyond the least, as far as it is known: a probe finds out, and so does a request that is refused
//! for its form. All that one process learns is shared by its clones.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What a store may lack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Feature {
    /// Requests and answers can carry a CRC-32 beside the signature.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>
    Checksums,
    /// A write with `If-None-Match: *` fails if the key is taken.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
    ConditionalWrites,
    /// A body can be sent while it arrives, with its checksum behind it.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>
    StreamedTrailers,
}

/// What is known of a store. Until something else is known it can do everything.
#[derive(Clone, Debug)]
pub(crate) struct Features(Arc<[AtomicBool; 3]>);

impl Features {
    pub(crate) fn new() -> Self {
        Self(Arc::new([const { AtomicBool::new(true) }; 3]))
    }

    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.0[feature as usize].load(Ordering::Relaxed)
    }

    /// Remembers, and says so when it is news.
    pub(crate) fn set(&self, feature: Feature, has: bool) {
        let had = self.0[feature as usize].swap(has, Ordering::Relaxed);
        let name = match feature {
            Feature::Checksums => "darkroom_store_checksums",
            Feature::ConditionalWrites => "darkroom_store_conditional_writes",
            Feature::StreamedTrailers => "darkroom_store_streamed_trailers",
        };
        metrics::gauge!(name).set(u8::from(has));
        match (had, has, feature) {
            (true, false, Feature::Checksums) => {
                tracing::warn!(
                    "the store takes no checksums: signatures vouch for what it is sent"
                );
            }
            (true, false, Feature::ConditionalWrites) => tracing::warn!(
                "the store has no conditional writes: keys are looked up before they are written"
            ),
            (true, false, Feature::StreamedTrailers) => tracing::warn!(
                "the store takes no streamed trailers: outputs are buffered before they are sent"
            ),
            (false, true, _) => tracing::info!(?feature, "the store can do this after all"),
            _ => {}
        }
    }
}
