//! Finding out what a store can do, with an object of our own and the very headers that outputs have: that it lets us write,
//! read and remove, and which of the [features](Feature) it has.

use bytes::Bytes;

use crate::{
    Existing, Feature, NewObject, Storage,
    digest::{Crc32, Digest},
    error::{Result, StorageError},
};

/// What a probe writes.
const CONTENT: &[u8] = b"written to find out what this store can do";

impl Storage {
    /// Writes, reads and removes an object below `probes/`, which `name` tells from those of others, and remembers what the
    /// store can do.
    ///
    /// # Errors
    /// If the store refuses what every output needs, or fails.
    pub async fn probe(&self, name: &str) -> Result<()> {
        let object = NewObject {
            key: format!("probes/{name}"),
            content_type: "text/plain".to_owned(),
            content_disposition: Some("attachment".to_owned()),
            metadata: vec![("prediction", name.to_owned())],
            existing: Existing::Replace,
        };
        let content = Bytes::from_static(CONTENT);
        self.probe_checksums(&object).await?;
        let probed = async {
            if self.read(&object.key, CONTENT.len()).await? != content {
                return Err(StorageError::Corrupt("has other bytes than it was sent"));
            }
            self.probe_conditional_writes(&object).await?;
            self.probe_streamed_trailers(&object).await
        };
        let probed = probed.await;
        self.delete(&object.key).await?;
        probed
    }

    /// The first write, which has to succeed in one of two forms.
    async fn probe_checksums(&self, object: &NewObject) -> Result<()> {
        let (content, digest) = (Bytes::from_static(CONTENT), Digest::of(CONTENT));
        let mut has = self.may_add_checksums();
        let checksum = has.then(|| Crc32::of(CONTENT));
        let mut sent = self
            .send(object, content.clone(), &digest, None, checksum)
            .await;
        if has && matches!(&sent, Err(error) if error.is_of_the_form()) {
            has = false;
            sent = self.send(object, content, &digest, None, None).await;
        }
        sent?;
        self.features.set(Feature::Checksums, has);
        Ok(())
    }

    /// A store that replaces what was to be kept knows no conditions, whether or not it says so.
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
                Err(error) if error.is_of_the_form() => false,
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
            // A store that refuses the request hears no more of it.
            if frames.send(Bytes::from_static(CONTENT)).await.is_ok() {
                let _ = frames.finish().await;
            }
        };
        let ((), answer) = tokio::join!(send, answer);
        // A plain write has just succeeded, and a store that does not know the form may call it anything: bytes that do not match,
        // a body that is too short, a signature that is wrong. The next probe asks again.
        let has = answer.is_ok();
        self.features.set(Feature::StreamedTrailers, has);
        Ok(())
    }
}
