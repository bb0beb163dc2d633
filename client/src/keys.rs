//! API keys: given out, listed, revoked. It takes a key with the scope `admin`.

use darkroom_types::{
    api_key::KeyId,
    request::{CreateApiKey, ListApiKeys},
    resource::{ApiKeys, CreatedApiKey},
};
use reqwest::Method;

use crate::{Client, Error, call::Idempotency};

impl Client {
    /// Gives out a key. It is answered once: if the answer is lost, so is the key, and
    /// `list_api_keys` tells of it.
    ///
    /// # Errors
    /// If the caller may not, there are too many, or nobody can be reached.
    pub async fn create_api_key(&self, key: &CreateApiKey) -> Result<CreatedApiKey, Error> {
        let post = self.request(Method::POST, self.url_of(&["v1", "keys"]));
        self.call(post.json(key), Idempotency::NotIdempotent).await
    }

    /// The keys of a tenant that were given out by the api.
    ///
    /// # Errors
    /// If the caller may not, or nobody can be reached.
    pub async fn list_api_keys(&self, list: &ListApiKeys) -> Result<ApiKeys, Error> {
        let get = self.request(Method::GET, self.url_of(&["v1", "keys"]));
        self.call(get.query(list), Idempotency::Idempotent).await
    }

    /// Revokes a key: within five seconds it is refused everywhere.
    ///
    /// # Errors
    /// If there is no such key, the caller may not, or nobody can be reached.
    pub async fn revoke_api_key(&self, key_id: &KeyId) -> Result<(), Error> {
        let url = self.url_of(&["v1", "keys", &key_id.to_string()]);
        self.command(self.request(Method::DELETE, url), Idempotency::Idempotent)
            .await
    }
}
