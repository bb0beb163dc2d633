//! Probing a store with a test object that has the same headers as outputs: checks that it can be
//! written, read and deleted, and detects the [features](Feature) of the store.

use bytes::Bytes;
use darkroom_types::object_key::ObjectKey;

use crate::{
    Existing, Feature, NewObject, Storage,
    digest::{Crc32, Digest},
    error::{Result, StorageError},
};

/// Content of the test object.
const CONTENT: &[u8] = b"written to find out what this store can do";

impl Storage {
    /// Writes, reads and deletes an object below `probes/`, and records the features of the store.
    /// The `name` distinguishes it from the objects of other probes.
    ///
    /// # Errors
    /// If the store refuses what every output needs, or fails.
    pub async fn probe(&self, name: &str) -> Result<()> {
        let object = NewObject {
            key: ObjectKey::new(format!("probes/{name}")),
            content_type: "text/plain".to_owned(),
            content_disposition: Some("attachment".to_owned()),
            metadata: vec![("prediction", name.to_owned())],
            existing: Existing::Replace,
        };
        let content = Bytes::from_static(CONTENT);
        self.probe_checksums(&object).await?;
        let probed = async {
            if self.read(&object.key, CONTENT.len()).await? != Some(content) {
                return Err(StorageError::Corrupt("has other bytes than it was sent"));
            }
            self.probe_conditional_writes(&object).await?;
            self.probe_streamed_trailers(&object).await
        };
        let probed = probed.await;
        self.delete(&object.key).await?;
        probed
    }

    /// Makes the first write, which must succeed with or without a checksum.
    async fn probe_checksums(&self, object: &NewObject) -> Result<()> {
        let (content, digest) = (Bytes::from_static(CONTENT), Digest::of(CONTENT));
        let mut has = self.may_add_checksums();
        let checksum = has.then(|| Crc32::of(CONTENT));
        let mut sent = self
            .send(object, content.clone(), &digest, None, checksum)
            .await;
        if has && matches!(&sent, Err(error) if error.is_unsupported_request()) {
            has = false;
            sent = self.send(object, content, &digest, None, None).await;
        }
        sent?;
        self.features.set(Feature::Checksums, has);
        Ok(())
    }

    /// Detects conditional writes. A store that replaces the existing object does not support them,
    /// whatever it answers.
    async fn probe_conditional_writes(&self, object: &NewObject) -> Result<()> {
        let (content, digest) = (Bytes::from_static(CONTENT), Digest::of(CONTENT));
        let has = match self.conditional_writes {
            Some(has) => has,
            None => match self
                .send(
                    object,
                    content,
                    &digest,
                    Some("*"),
                    self.checksum_of(CONTENT),
                )
                .await
            {
                Ok(_) => false,
                Err(StorageError::AlreadyExists) => true,
                Err(error) if error.is_unsupported_request() => false,
                Err(error) => return Err(error),
            },
        };
        self.features.set(Feature::ConditionalWrites, has);
        Ok(())
    }

    async fn probe_streamed_trailers(&self, object: &NewObject) -> Result<()> {
        if !self.adds_checksums() {
            self.features.set(Feature::StreamedTrailers, false);
            return Ok(());
        }
        let (mut frames, answer) = self.put_streaming(object, CONTENT.len() as u64).await?;
        let send = async {
            // Ignored: a store that refuses the request ends it early, and the answer says why.
            if frames.send(Bytes::from_static(CONTENT)).await.is_ok() {
                let _ = frames.finish().await;
            }
        };
        let ((), answer) = tokio::join!(send, answer);
        // A plain write has just succeeded, so any error counts as a missing feature. A store that
        // does not know the form may report anything: mismatching bytes, a short body, a wrong
        // signature. The next probe tries again.
        let has = answer.is_ok();
        self.features.set(Feature::StreamedTrailers, has);
        Ok(())
    }
}
