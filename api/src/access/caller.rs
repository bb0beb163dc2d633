//! The caller of a request: the tenant of its API key, and what the key permits. Without configured
//! keys, callers are anonymous.

use std::{future, sync::Arc};

use darkroom_types::{
    api_key::{KeyId, ModelPattern, Scope},
    request::Model,
    tenant::Tenant,
};
use jiff::Timestamp;
use poem::{
    FromRequest, Request, RequestBody,
    http::{Method, header::AUTHORIZATION},
    web::headers::{Authorization, HeaderMapExt, authorization::Bearer},
};
use tracing::Span;

use super::{
    keys::{ApiKey, Role},
    sender::{Sender, SenderCell},
    stored_key::StoredKey,
};
use crate::{
    context::Context,
    problem::{Kind, Problem},
};

/// Authenticated caller. A request that reads requires a key with the scope `read`, all others one
/// with `write`.
#[derive(Clone)]
pub(crate) struct Caller {
    key: Key,
}

/// Caller whose key manages keys.
pub(crate) struct Admin {
    tenant: Tenant,
    models: Vec<ModelPattern>,
    expires_at: Option<Timestamp>,
    manages_all: bool,
}

/// Credentials of a caller.
#[derive(Clone)]
enum Key {
    /// None, as no keys are configured.
    None,
    /// Key that the operator lists.
    Listed {
        tenant: Tenant,
        id: Option<KeyId>,
        role: Role,
    },
    /// Key issued over HTTP.
    Stored(Arc<StoredKey>),
}

impl Caller {
    /// Returns the tenant whose jobs the caller sees.
    pub(crate) fn tenant(&self) -> Option<&Tenant> {
        match &self.key {
            Key::None => None,
            Key::Listed { tenant, .. } => Some(tenant),
            Key::Stored(key) => Some(key.key_id.tenant()),
        }
    }

    /// Returns the id of the caller's key.
    pub(crate) fn key_id(&self) -> Option<&KeyId> {
        match &self.key {
            Key::None => None,
            Key::Listed { id, .. } => id.as_ref(),
            Key::Stored(key) => Some(&key.key_id),
        }
    }

    /// Checks that the caller's key permits this model.
    ///
    /// # Errors
    /// If the key is limited to other models.
    pub(crate) fn may_ask_for(&self, model: &Model) -> Result<(), Problem> {
        let models = self.models();
        if models.is_empty() || models.iter().any(|pattern| pattern.matches(model)) {
            return Ok(());
        }
        let detail = format!("the key does not permit the model {model}");
        Err(Problem::new(Kind::Forbidden, detail))
    }

    /// Waits until the caller's key is revoked or has expired.
    pub(crate) async fn revoked(&self, context: &Context) {
        match &self.key {
            // Listed keys change only with a restart of the process.
            Key::None | Key::Listed { .. } => future::pending().await,
            Key::Stored(key) => context.stored_keys.revoked(&key.key_id).await,
        }
    }

    fn models(&self) -> &[ModelPattern] {
        match &self.key {
            Key::None | Key::Listed { .. } => &[],
            Key::Stored(key) => &key.models,
        }
    }

    /// Checks that the caller's key has this scope.
    ///
    /// # Errors
    /// If it does not.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Problem> {
        let is_good = match &self.key {
            Key::None | Key::Listed { .. } if scope != Scope::Admin => true,
            Key::None => false,
            Key::Listed { role, .. } => *role != Role::Caller,
            Key::Stored(key) => key.scopes.contains(&scope),
        };
        if is_good {
            return Ok(());
        }
        let detail = format!("this requires a key with the scope {scope}");
        Err(Problem::new(Kind::Forbidden, detail))
    }

    async fn of(context: &Context, request: &Request) -> Result<Self, Problem> {
        let peer = context.peers.calling(request);
        // A request with this header was not counted yet, whatever the header contains.
        let count_without_key = || {
            if request.headers().contains_key(AUTHORIZATION) {
                context.peers.request(peer)?;
            }
            Ok::<_, Problem>(())
        };
        if context.keys.is_empty() {
            count_without_key()?;
            return Ok(Self { key: Key::None });
        }
        let bearer = request.headers().typed_get::<Authorization<Bearer>>();
        let Some(bearer) = bearer else {
            count_without_key()?;
            return Err(unauthenticated());
        };
        let text = bearer.token();
        let key = if let Some(key) = context.keys.find(text) {
            Key::listed(key)
        } else {
            let admit = || context.peers.unknown_key(peer);
            let Some(stored) = context.stored_keys.find(text, admit).await? else {
                context.peers.request(peer)?;
                return Err(unauthenticated());
            };
            Key::Stored(stored)
        };
        let caller = Self { key };
        if let Some(id) = caller.key_id() {
            Span::current().record("key_id", tracing::field::display(id));
        }
        if let Some(tenant) = caller.tenant() {
            context.limits.request(tenant)?;
            let sender = Sender::Tenant(tenant.clone());
            context.peers.check_responses(Some(&sender))?;
            SenderCell::of(request).set(sender);
        }
        Ok(caller)
    }
}

impl Key {
    fn listed(key: &ApiKey) -> Self {
        Self::Listed {
            tenant: key.tenant.clone(),
            id: key.id(),
            role: key.role,
        }
    }
}

fn unauthenticated() -> Problem {
    let detail = "send your API key as Authorization: Bearer …";
    Problem::new(Kind::Unauthenticated, detail)
}

fn context_of(request: &Request) -> Result<&Arc<Context>, Problem> {
    request.data::<Arc<Context>>().ok_or_else(Problem::internal)
}

impl<'a> FromRequest<'a> for Caller {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Self> {
        let caller = Self::of(context_of(request)?, request).await?;
        caller.require(match *request.method() {
            Method::GET | Method::HEAD => Scope::Read,
            _ => Scope::Write,
        })?;
        Ok(caller)
    }
}

impl Admin {
    /// Returns the tenant whose keys it manages by default.
    pub(crate) fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Returns the models that its key permits: all if the list is empty.
    pub(crate) fn models(&self) -> &[ModelPattern] {
        &self.models
    }

    /// Returns the time at which its key expires, if it does.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Returns true if it manages the keys of this tenant.
    pub(crate) fn may_manage(&self, tenant: &Tenant) -> bool {
        self.manages_all || *tenant == self.tenant
    }
}

impl<'a> FromRequest<'a> for Admin {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Self> {
        let caller = Caller::of(context_of(request)?, request).await?;
        caller.require(Scope::Admin)?;
        let manages_all = matches!(
            caller.key,
            Key::Listed {
                role: Role::Operator,
                ..
            }
        );
        Ok(Self {
            tenant: caller.tenant().cloned().ok_or_else(Problem::internal)?,
            models: caller.models().to_vec(),
            expires_at: match &caller.key {
                Key::None | Key::Listed { .. } => None,
                Key::Stored(key) => key.expires_at,
            },
            manages_all,
        })
    }
}
