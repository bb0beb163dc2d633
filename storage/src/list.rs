//! Listings of what is below a prefix: objects, folders, and multipart uploads in progress.

use std::time::{Duration, SystemTime};

use darkroom_types::object_key::ObjectKey;
use futures::FutureExt;

use crate::{
    Storage, Upload,
    error::{Result, StorageError},
};

/// Page of the objects below a prefix.
#[derive(Clone, Debug)]
pub struct ObjectPage {
    /// Objects in the order of their keys.
    pub objects: Vec<ListedObject>,
    /// True if there are more after them.
    pub has_more: bool,
}

/// An object in a listing.
#[derive(Clone, Debug)]
pub struct ListedObject {
    /// Key.
    pub key: ObjectKey,
    /// Time at which it was written, by the store's clock.
    pub modified: Option<SystemTime>,
}

impl ListedObject {
    /// Returns true if it was written at least this long ago; false if the store does not say.
    #[must_use]
    pub fn is_older_than(&self, age: Duration) -> bool {
        let elapsed = self.modified.and_then(|modified| modified.elapsed().ok());
        elapsed.is_some_and(|elapsed| elapsed >= age)
    }
}

/// A multipart upload in a listing.
#[derive(Clone, Debug)]
pub struct ListedUpload {
    /// The upload.
    pub upload: Upload,
    /// Time at which it began, by the store's clock.
    pub began: Option<SystemTime>,
}

/// Page of multipart uploads, and the marker of the next page.
#[derive(Clone, Debug, Default)]
pub struct UploadPage {
    /// The uploads.
    pub uploads: Vec<ListedUpload>,
    /// Marker after which to continue, if there are more.
    pub next: Option<UploadMarker>,
}

/// Position in the listing of multipart uploads.
#[derive(Clone, Debug, Default)]
pub struct UploadMarker {
    key: Option<String>,
    id: Option<String>,
}

impl Storage {
    /// Lists the objects whose keys begin with `prefix`, in order: at most `limit` (1,000 at most)
    /// of those after `after`.
    ///
    /// # Errors
    /// If the store refuses or fails.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectKey>,
        limit: u16,
    ) -> Result<ObjectPage> {
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(self.full_key(prefix))
            .set_start_after(after.map(|after| self.full_key(after)))
            .max_keys(limit.into());
        let listed = request.send().boxed().await;
        let listed = listed.map_err(|error| StorageError::of("ListObjectsV2", &error))?;
        let objects = listed.contents().iter().filter_map(|object| {
            let modified = object.last_modified();
            Some(ListedObject {
                key: ObjectKey::new(self.strip_key_prefix(object.key()?)?),
                modified: modified.and_then(|modified| SystemTime::try_from(*modified).ok()),
            })
        });
        Ok(ObjectPage {
            objects: objects.collect(),
            has_more: listed.is_truncated() == Some(true),
        })
    }

    /// Lists the folders below `prefix`: what is between `prefix` and the next slash of the keys
    /// that begin with it. They are in order, at most 1,000 of those after `after`. The flag is
    /// true if there are more.
    ///
    /// # Errors
    /// If the store refuses or fails.
    pub async fn list_folders(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<(Vec<String>, bool)> {
        // Starts after all keys in the folder `after`: `0` is the character after the slash.
        let last = after.map(|after| format!("{}0", self.full_key(format!("{prefix}{after}"))));
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(self.full_key(prefix))
            .set_start_after(last)
            .delimiter("/");
        let listed = request.send().boxed().await;
        let listed = listed.map_err(|error| StorageError::of("ListObjectsV2", &error))?;
        let folders = listed.common_prefixes().iter().filter_map(|common| {
            let key = self.strip_key_prefix(common.prefix()?)?;
            Some(key.strip_prefix(prefix)?.strip_suffix('/')?.to_owned())
        });
        Ok((folders.collect(), listed.is_truncated() == Some(true)))
    }

    /// Lists the multipart uploads in progress below a prefix, a page at a time; none if the store
    /// cannot list them.
    ///
    /// # Errors
    /// If the store refuses or fails.
    pub async fn list_uploads(
        &self,
        prefix: &str,
        after: Option<UploadMarker>,
    ) -> Result<UploadPage> {
        let UploadMarker { key, id } = after.unwrap_or_default();
        let request = self
            .client
            .list_multipart_uploads()
            .bucket(&self.bucket)
            .prefix(self.full_key(prefix))
            .set_key_marker(key)
            .set_upload_id_marker(id);
        let listed = match request.send().boxed().await {
            Ok(listed) => listed,
            Err(error) => {
                return match StorageError::of("ListMultipartUploads", &error) {
                    error if error.is_unsupported_request() => Ok(UploadPage::default()),
                    error => Err(error),
                };
            }
        };
        let uploads = listed.uploads().iter().filter_map(|upload| {
            let key = ObjectKey::new(self.strip_key_prefix(upload.key()?)?);
            let id = upload.upload_id()?.to_owned();
            let began = upload.initiated();
            Some(ListedUpload {
                upload: Upload { key, id },
                began: began.and_then(|began| SystemTime::try_from(*began).ok()),
            })
        });
        let uploads = uploads.collect();
        let has_more = listed.is_truncated() == Some(true) && listed.next_key_marker.is_some();
        Ok(UploadPage {
            uploads,
            next: has_more.then_some(UploadMarker {
                key: listed.next_key_marker,
                id: listed.next_upload_id_marker,
            }),
        })
    }
}
