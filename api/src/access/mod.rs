//! Who calls, and how much they may ask for.
//!
//! - `keys`: API keys and the tenants that they speak for
//! - `limits`: requests a second, those who wait; `open_jobs`: jobs that have not ended

mod keys;
mod limits;
mod open_jobs;

use std::sync::Arc;

use darkroom_workflows::tenant::Tenant;
use poem::{FromRequest, Request, RequestBody, http::header::AUTHORIZATION};

pub(crate) use self::{
    keys::ApiKeys,
    limits::{Limits, Processes, wait_time},
};
use crate::{
    context::Context,
    problem::{Kind, Problem},
};

/// Whoever calls: the tenant of the key that came along, or nobody in particular where there are no keys.
pub(crate) struct Caller {
    tenant: Option<Tenant>,
}

impl Caller {
    /// Whose jobs the caller sees.
    pub(crate) fn tenant(&self) -> Option<&Tenant> {
        self.tenant.as_ref()
    }

    fn of(context: &Context, request: &Request) -> Result<Self, Problem> {
        if context.keys.is_empty() {
            return Ok(Self { tenant: None });
        }
        let key = request
            .headers()
            .get(AUTHORIZATION)
            .and_then(|header| header.to_str().ok())
            .and_then(bearer);
        let tenant = key.and_then(|key| context.keys.find(key)).ok_or_else(|| {
            Problem::new(
                Kind::Unauthenticated,
                "send your API key as Authorization: Bearer …",
            )
        })?;
        context.limits.request(tenant)?;
        Ok(Self {
            tenant: Some(tenant.clone()),
        })
    }
}

/// <https://www.rfc-editor.org/rfc/rfc6750#section-2.1>
fn bearer(header: &str) -> Option<&str> {
    let (scheme, key) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

impl<'a> FromRequest<'a> for Caller {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Self> {
        let context = request
            .data::<Arc<Context>>()
            .ok_or_else(Problem::internal)?;
        Ok(Self::of(context, request)?)
    }
}
