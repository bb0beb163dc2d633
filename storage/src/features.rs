//! Optional features of the store, as far as they are known. A probe detects them, and so does a
//! request that is refused for its form. All clones in a process share them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Feature that a store may be missing. Checksums of uploads:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Feature {
    /// Checksums: requests and answers carry a CRC-32 besides the signature.
    Checksums,
    /// Conditional writes: a write with `If-None-Match: *` fails if the key is taken.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
    ConditionalWrites,
    /// Trailer checksums: a body is sent while it arrives, with its checksum in the trailer.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>
    StreamedTrailers,
}

/// Known features of a store. Until something else is known, it counts as having all.
#[derive(Clone, Debug)]
pub(crate) struct Features(Arc<[AtomicBool; 3]>);

impl Features {
    pub(crate) fn new() -> Self {
        Self(Arc::new([const { AtomicBool::new(true) }; 3]))
    }

    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.0[feature as usize].load(Ordering::Relaxed)
    }

    /// Records a feature, and logs a change.
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
                    "the store supports no checksums: signatures protect what it is sent"
                );
            }
            (true, false, Feature::ConditionalWrites) => tracing::warn!(
                "the store has no conditional writes: keys are looked up before they are written"
            ),
            (true, false, Feature::StreamedTrailers) => tracing::warn!(
                "the store supports no trailer checksums: outputs are buffered before they are sent"
            ),
            (false, true, _) => tracing::info!(?feature, "the store has this feature after all"),
            _ => {}
        }
    }
}
