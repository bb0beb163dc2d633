//! `Idempotency-Key`: the id of a job that is asked for with one follows from the key, so that Temporal itself, which takes
//! an id once, sees to it that there is one job however often and wherever it is asked for.
//! <https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header>

use std::str::FromStr;

use darkroom_workflows::{job::JobId, tenant::Tenant};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A caller's own name for a request: 1 to 255 visible ASCII characters. Of a quoted one, the quotes are part.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct IdempotencyKey(String);

/// The text is no key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be 1 to 255 visible ASCII characters")]
pub(crate) struct InvalidIdempotencyKey;

impl IdempotencyKey {
    const MAX: usize = 255;

    /// The id of the job: the same for the same tenant and key, for ever.
    pub(super) fn job_id(&self, tenant: Option<&Tenant>) -> JobId {
        let tenant = tenant.map(Tenant::as_str).unwrap_or_default();
        let digest = Sha256::digest(format!("darkroom job\n{tenant}\n{}", self.0));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        // RFC 9562 keeps version 8 for ids that are made by a rule of one's own.
        super::job_id(Uuid::new_v8(bytes))
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;

    fn from_str(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        let is_key = (1..=Self::MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_key {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidIdempotencyKey)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_follows_from_tenant_and_key() {
        let id = |tenant: Option<&str>, key: &str| {
            let tenant = tenant.map(|tenant| tenant.parse().unwrap());
            key.parse::<IdempotencyKey>()
                .unwrap()
                .job_id(tenant.as_ref())
        };
        assert_eq!(
            id(None, "order-7").as_str(),
            "8a0c5bee-1399-8f78-98cf-3ea1542adb8f"
        );
        assert_eq!(id(Some("acme"), "order-7"), id(Some("acme"), "order-7"));
        assert_ne!(id(Some("acme"), "order-7"), id(Some("other"), "order-7"));
        assert_ne!(id(Some("acme"), "order-7"), id(None, "order-7"));
        assert_ne!(id(Some("acme"), "order-7"), id(Some("acme"), "order-8"));
    }

    #[test]
    fn keys_are_short_and_visible() {
        assert!(
            "8e03978e-40d5-43e8-bc93-6894a57f9324"
                .parse::<IdempotencyKey>()
                .is_ok()
        );
        assert!("\"8e03978e\"".parse::<IdempotencyKey>().is_ok());
        for text in ["", "a b", "ä", "a\tb", &"k".repeat(256)] {
            assert_eq!(
                text.parse::<IdempotencyKey>(),
                Err(InvalidIdempotencyKey),
                "{text}"
            );
        }
    }
}
