//! API keys: create, list and revoke them. The caller's own key needs the scope `admin`.

use darkroom_types::{
    api_key::KeyId,
    request::{CreateApiKey, ListApiKeys},
    resource::{ApiKeys, CreatedApiKey},
};
use reqwest::Method;

use crate::{Client, Error, call::Idempotency};

impl Client {
    /// Creates an API key. No other response contains its secret: if the response is lost, so is
    /// the secret, and `list_api_keys` still lists the key.
    ///
    /// # Errors
    /// If the caller lacks the scope, if the tenant has too many keys, or if the api cannot be
    /// reached.
    pub async fn create_api_key(&self, key: &CreateApiKey) -> Result<CreatedApiKey, Error> {
        let post = self.request(Method::POST, self.url_of(&["v1", "keys"]));
        self.call(post.json(key), Idempotency::NotIdempotent).await
    }

    /// Returns the API keys of a tenant that were created over HTTP.
    ///
    /// # Errors
    /// If the caller lacks the scope, or if the api cannot be reached.
    pub async fn list_api_keys(&self, list: &ListApiKeys) -> Result<ApiKeys, Error> {
        let get = self.request(Method::GET, self.url_of(&["v1", "keys"]));
        self.call(get.query(list), Idempotency::Idempotent).await
    }

    /// Revokes an API key: all processes of the api reject it within five seconds.
    ///
    /// # Errors
    /// If there is no such key, if the caller lacks the scope, or if the api cannot be reached.
    pub async fn revoke_api_key(&self, key_id: &KeyId) -> Result<(), Error> {
        let url = self.url_of(&["v1", "keys", &key_id.to_string()]);
        self.command(self.request(Method::DELETE, url), Idempotency::Idempotent)
            .await
    }
}
