//! `Idempotency-Key`: the id of a job is derived from its key. Temporal starts a workflow id once,
//! so there is one job per key, however often and through whichever process it is requested.
//! <https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header>

use darkroom_types::{job_id::JobId, request::IdempotencyKey, tenant::Tenant};
use poem::Request;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::problem::{Kind, Problem};

/// Returns the idempotency key of a request, if it has one.
///
/// # Errors
/// If the header is not a valid key.
pub(super) fn key(request: &Request) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(header) = request.headers().get("idempotency-key") else {
        return Ok(None);
    };
    let key = header.to_str().unwrap_or_default().parse();
    key.map(Some).map_err(|error| {
        Problem::new(
            Kind::InvalidParameter,
            format!("the header Idempotency-Key {error}"),
        )
    })
}

/// Derives the id of a job: always the same for the same tenant and key.
pub(super) fn job_id(key: &IdempotencyKey, tenant: Option<&Tenant>) -> JobId {
    let tenant = tenant.map(Tenant::as_str).unwrap_or_default();
    let digest = Sha256::digest(format!("darkroom job\n{tenant}\n{key}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    // RFC 9562 reserves version 8 for ids that an application derives by its own rule.
    Uuid::new_v8(bytes).into()
}

/// Derives the id of a retry: always the same for the same job and key.
pub(super) fn retry_id(key: &IdempotencyKey, job_id: &JobId) -> String {
    let digest = Sha256::digest(format!("darkroom retry\n{job_id}\n{key}"));
    hex::encode(&digest[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_id_derives_from_tenant_and_key() {
        let id = |tenant: Option<&str>, key: &str| {
            let tenant = tenant.map(|tenant| tenant.parse().unwrap());
            job_id(&key.parse().unwrap(), tenant.as_ref())
        };
        assert_eq!(
            id(None, "order-7").to_string(),
            "8a0c5bee-1399-8f78-98cf-3ea1542adb8f"
        );
        assert_eq!(id(Some("acme"), "order-7"), id(Some("acme"), "order-7"));
        assert_ne!(id(Some("acme"), "order-7"), id(Some("other"), "order-7"));
        assert_ne!(id(Some("acme"), "order-7"), id(None, "order-7"));
        assert_ne!(id(Some("acme"), "order-7"), id(Some("acme"), "order-8"));
    }
}
