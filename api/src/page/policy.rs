//! The content security policy of the page: its own scripts, calls to this api, and content of the
//! store. Nothing else is allowed, and no text becomes markup.

use std::time::{Duration, SystemTime};

use darkroom_storage::{Presentation, Storage};
use darkroom_types::object_key::ObjectKey;
use tokio::sync::OnceCell;

/// Origin from which browsers fetch outputs, known once a URL was signed.
#[derive(Default)]
pub(crate) struct StoreOrigin(OnceCell<String>);

impl StoreOrigin {
    /// Returns the origin of signed URLs; `None` while there are no credentials to sign with.
    pub(super) async fn get(&self, storage: &Storage) -> Option<&str> {
        let (key, any) = (ObjectKey::new("any"), Presentation::default());
        let find = async || {
            let signed = storage.presign(&key, &any, SystemTime::now(), Duration::from_secs(1));
            let origin = signed.await?.url.origin();
            anyhow::Ok(origin.ascii_serialization())
        };
        let origin = self.0.get_or_try_init(find).await;
        origin
            .inspect_err(|error| tracing::warn!(%error, "the page cannot show outputs"))
            .ok()
            .map(String::as_str)
    }
}

/// Returns the policy of the page. <https://www.w3.org/TR/CSP3/>,
/// <https://www.w3.org/TR/trusted-types/>
pub(super) fn page(store: Option<&str>) -> String {
    let store = store.unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data: {store}; \
         media-src 'self' blob: {store}; connect-src 'self' {store}; form-action 'none'; base-uri 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_allows_nothing_unsafe() {
        let policy = page(Some("https://s3.example.com"));
        assert!(!policy.contains("unsafe"));
        assert_eq!(policy.matches("https://s3.example.com").count(), 3);
    }
}
