//! API keys over HTTP, one file per route: [`create`], [`list`], [`revoke`].

pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod revoke;

use darkroom_types::tenant::Tenant;

use crate::{
    access::Admin,
    problem::{Kind, Problem},
};

/// Returns the tenant whose keys are managed: the one that is named, or the admin's own.
fn managed(admin: &Admin, named: Option<Tenant>) -> Result<Tenant, Problem> {
    let tenant = named.unwrap_or_else(|| admin.tenant().clone());
    if admin.may_manage(&tenant) {
        return Ok(tenant);
    }
    let detail = "the key manages only the keys of its own tenant";
    Err(Problem::new(Kind::Forbidden, detail))
}
