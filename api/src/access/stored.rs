//! API keys issued over HTTP. Each is an object in the store, with the SHA-256 of the key and not
//! the key: see `stored_key`. While a key is in use, its object is read again every two seconds, so
//! that one that is revoked through another process is rejected soon. While the store is
//! unavailable, the last known state of a key applies.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use darkroom_storage::{NewObject, Storage, StorageError};
use darkroom_types::{api_key::KeyId, object_key::ObjectKey, resource::ApiKey, tenant::Tenant};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use moka::future::Cache;
use serde::{Deserialize, Serialize};

use super::stored_key::{LastUse, StoredKey, id_of, last_use_key, object_key, prefix};
use crate::problem::Problem;

/// Limit of keys per tenant.
pub(crate) const MAX_KEYS: usize = 100;

/// Time for which a key that was read, or its absence, is cached.
const VALIDITY: Duration = Duration::from_secs(2);

/// Limit of known keys, and the idle time after which one is evicted.
const MAX_KNOWN: u64 = 10_000;
const IDLE: Duration = Duration::from_hours(24);

/// Timeout of the store while a caller waits.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Interval between two records of a key's use.
const USE: Duration = Duration::from_mins(1);

/// Size limit of a key's object, in bytes.
const LIMIT: usize = 64 * 1024;

/// Objects per page of a listing, and limit of pages.
const PAGE: u16 = 1000;
const MAX_PAGES: usize = 10;

/// Limit of concurrent reads.
const READS: usize = 16;

/// Cache of keys that were used recently.
pub(crate) struct StoredKeys {
    storage: Storage,
    /// Keys that were read a moment ago, or their absence.
    fresh: Cache<KeyId, Option<Arc<StoredKey>>>,
    /// Latest known state of each key.
    known: Cache<KeyId, Arc<StoredKey>>,
    /// Keys that were revoked through this process: their ids are never issued again.
    revoked: Cache<KeyId, ()>,
    /// Keys whose use was recorded in the last minute.
    used: Cache<KeyId, ()>,
}

impl StoredKeys {
    pub(crate) fn new(storage: Storage) -> Self {
        Self {
            storage,
            fresh: Cache::builder()
                .max_capacity(MAX_KNOWN)
                .time_to_live(VALIDITY)
                .build(),
            known: Cache::builder()
                .max_capacity(MAX_KNOWN)
                .time_to_idle(IDLE)
                .build(),
            revoked: Cache::builder()
                .max_capacity(MAX_KNOWN)
                .time_to_live(IDLE)
                .build(),
            used: Cache::builder()
                .max_capacity(MAX_KNOWN)
                .time_to_live(USE)
                .build(),
        }
    }

    /// Finds a valid key by its text. Before an unknown key is read, `admit` rate limits the
    /// client, which can try any number of them.
    ///
    /// # Errors
    /// If the client is not admitted, or if the store cannot be read and the key is not known.
    pub(super) async fn find(
        &self,
        text: &str,
        admit: impl FnOnce() -> Result<(), Problem>,
    ) -> Result<Option<Arc<StoredKey>>, Problem> {
        let Some(id) = id_of(text) else {
            return Ok(None);
        };
        if !self.known.contains_key(&id) && !self.fresh.contains_key(&id) {
            admit()?;
        }
        let key = self.get(&id).await?;
        let key = key.filter(|key| key.is_good(text, Timestamp::now()));
        if key.is_some() {
            self.note_use(id).await;
        }
        Ok(key)
    }

    /// Waits until a key is revoked or has expired.
    pub(super) async fn revoked(&self, id: &KeyId) {
        loop {
            tokio::time::sleep(VALIDITY).await;
            match self.get(id).await {
                Ok(Some(key)) if !key.has_expired(Timestamp::now()) => {}
                Ok(_) => return,
                // The store is unavailable: the last known state applies.
                Err(_) => {}
            }
        }
    }

    async fn get(&self, id: &KeyId) -> Result<Option<Arc<StoredKey>>, Problem> {
        if self.revoked.contains_key(id) {
            return Ok(None);
        }
        let read = self.fresh.try_get_with_by_ref(id, self.refresh(id).boxed());
        let read = read.await;
        read.map_err(|problem| Problem::clone(&problem))
    }

    async fn refresh(&self, id: &KeyId) -> Result<Option<Arc<StoredKey>>, Problem> {
        let read = tokio::time::timeout(TIMEOUT, self.read::<StoredKey>(&object_key(id))).await;
        match read {
            Ok(Ok(Some(key))) => {
                let key = Arc::new(key);
                self.known.insert(id.clone(), Arc::clone(&key)).await;
                Ok(Some(key))
            }
            Ok(Ok(None)) => {
                self.known.invalidate(id).await;
                Ok(None)
            }
            Ok(Err(_)) | Err(_) => {
                let known = self.known.get(id).await;
                known.map(Some).ok_or_else(Problem::storage_unavailable)
            }
        }
    }

    async fn read<T: for<'de> Deserialize<'de>>(
        &self,
        key: &ObjectKey,
    ) -> Result<Option<T>, Problem> {
        let read = self.storage.read(key, LIMIT).await;
        let Some(bytes) = read.map_err(|error| unavailable(&error))? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            tracing::error!(%error, %key, "an object of an API key cannot be parsed");
            Problem::internal()
        })
    }

    async fn write(&self, key: ObjectKey, value: &impl Serialize) -> Result<(), Problem> {
        let bytes = serde_json::to_vec(value).map_err(|_| Problem::internal())?;
        let object = NewObject::json(key);
        let written = self.storage.put(&object, Bytes::from(bytes)).await;
        written.map(|_| ()).map_err(|error| unavailable(&error))
    }

    /// Records that a key was used, in the background and at most once a minute.
    async fn note_use(&self, id: KeyId) {
        let entry = self.used.entry_by_ref(&id).or_insert(()).await;
        if !entry.is_fresh() {
            return;
        }
        let storage = self.storage.clone();
        tokio::spawn(async move {
            let at = Timestamp::now();
            let bytes = serde_json::to_vec(&LastUse { at }).unwrap_or_default();
            let object = NewObject::json(last_use_key(&id));
            if let Err(error) = storage.put(&object, Bytes::from(bytes)).await {
                tracing::debug!(%error, "cannot record the use of an API key");
            }
        });
    }

    /// Stores a new key.
    ///
    /// # Errors
    /// If the store does not accept it.
    pub(crate) async fn create(&self, key: &StoredKey) -> Result<(), Problem> {
        self.write(object_key(&key.key_id), key).await?;
        self.fresh.invalidate(&key.key_id).await;
        Ok(())
    }

    /// Revokes a key. Returns `false` if there is none.
    ///
    /// # Errors
    /// If the store cannot be read, or does not delete the object.
    pub(crate) async fn revoke(&self, id: &KeyId) -> Result<bool, Problem> {
        let is_there = self.read::<StoredKey>(&object_key(id)).await?.is_some();
        if is_there {
            let deleted = self.storage.delete(&object_key(id)).await;
            deleted.map_err(|error| unavailable(&error))?;
            if let Err(error) = self.storage.delete(&last_use_key(id)).await {
                tracing::warn!(%error, "cannot delete the last use of an API key");
            }
        }
        // Also covers a read that is under way.
        self.revoked.insert(id.clone(), ()).await;
        self.known.invalidate(id).await;
        Ok(is_there)
    }

    /// Returns the ids of a tenant's keys.
    ///
    /// # Errors
    /// If the store cannot be listed.
    pub(crate) async fn ids(&self, tenant: &Tenant) -> Result<Vec<KeyId>, Problem> {
        let prefix = prefix(tenant);
        let mut ids = Vec::new();
        let mut after: Option<ObjectKey> = None;
        // Beside each key is the object of its last use. One of a revoked key may remain, if it was
        // written just after.
        for _ in 0..MAX_PAGES {
            let page = self.storage.list(&prefix, after.as_ref(), PAGE).await;
            let page = page.map_err(|error| unavailable(&error))?;
            ids.extend(page.objects.iter().filter_map(|object| {
                let name = object.key.as_str().strip_prefix(&prefix)?;
                KeyId::new(tenant.clone(), name.strip_suffix(".json")?).ok()
            }));
            after = page.objects.last().map(|object| object.key.clone());
            if !page.has_more || after.is_none() {
                break;
            }
        }
        Ok(ids)
    }

    /// Returns the keys of a tenant.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn list(&self, tenant: &Tenant) -> Result<Vec<ApiKey>, Problem> {
        let reads = self.ids(tenant).await?.into_iter().map(async |id| {
            let Some(key) = self.read::<StoredKey>(&object_key(&id)).await? else {
                return Ok(None);
            };
            let last_use = self.read::<LastUse>(&last_use_key(&id)).await?;
            Ok::<_, Problem>(Some(key.resource(last_use.map(|last_use| last_use.at))))
        });
        let keys: Vec<_> = stream::iter(reads).buffered(READS).try_collect().await?;
        Ok(keys.into_iter().flatten().collect())
    }
}

/// Logs an error of the store, and returns the problem for the caller.
fn unavailable(error: &StorageError) -> Problem {
    tracing::error!(%error, "cannot access an API key in the store");
    Problem::storage_unavailable()
}
