//! Decides what an attempt does with the checkpoint of the one before it. It is pure: the
//! caller checks afterwards whether the store still has the upload.

use darkroom_storage::UploadedObject;

use super::checkpoint::{PersistCheckpoint, UploadCheckpoint};

/// Decision about the upload of an earlier attempt.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Resume {
    /// Begin an upload, as there is none.
    Begin,
    /// Complete an upload all of whose parts were sent.
    Complete(UploadCheckpoint, UploadedObject),
    /// Resume an upload, as the rest of the same file can be requested.
    Continue(UploadCheckpoint),
    /// Abort an upload that cannot be resumed.
    Abandon(UploadCheckpoint),
}

impl Resume {
    pub(super) fn decide(earlier: PersistCheckpoint) -> Self {
        let is_all_sent = earlier.is_all_sent();
        match (earlier.upload, earlier.sent) {
            (None, _) => Self::Begin,
            (Some(upload), Some(sent)) if is_all_sent => Self::Complete(upload, sent),
            (Some(upload), _) if upload.is_resumable() => Self::Continue(upload),
            (Some(upload), _) => Self::Abandon(upload),
        }
    }
}

#[cfg(test)]
mod tests {
    use darkroom_storage::digest::Digest;
    use serde_json::json;

    use super::*;

    fn checkpoint(validator: Option<&str>, bytes: u64, sent: Option<u64>) -> PersistCheckpoint {
        let mut digest = Digest::new();
        digest.update(&vec![7; usize::try_from(bytes).unwrap()]);
        let upload = json!({
            "s3_key": "k", "content_type": "video/mp4", "upload_id": "u", "validator": validator, "parts": [], "part_size": 8,
            "bytes": bytes, "digest": digest.save(),
        });
        let sent = sent.map(|size| {
            json!({"s3_key": "k", "content_type": "video/mp4", "size": size, "sha256": "0".repeat(64), "checksum": null})
        });
        PersistCheckpoint {
            upload: Some(serde_json::from_value(upload).unwrap()),
            sent: sent.map(|sent| serde_json::from_value(sent).unwrap()),
            ..PersistCheckpoint::default()
        }
    }

    #[test]
    fn an_upload_is_completed_resumed_or_abandoned() {
        let decide = |validator, bytes, sent| Resume::decide(checkpoint(validator, bytes, sent));
        assert_eq!(Resume::decide(PersistCheckpoint::default()), Resume::Begin);
        assert!(matches!(decide(None, 9, Some(9)), Resume::Complete(..)));
        assert!(matches!(
            decide(Some("\"a\""), 9, None),
            Resume::Continue(_)
        ));
        assert!(matches!(
            decide(Some("\"a\""), 9, Some(10)),
            Resume::Continue(_)
        ));
        assert!(matches!(decide(Some("\"a\""), 0, None), Resume::Abandon(_)));
        assert!(matches!(decide(None, 9, None), Resume::Abandon(_)));
    }
}
