//! The sender of a request, for limits of what it may hold: the tenant of its key, or its address.

use std::sync::{Arc, Mutex, PoisonError};

use darkroom_types::tenant::Tenant;
use poem::Request;

use super::Peer;

/// Sender of a request.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Sender {
    /// Client without a key, or whose key was not checked.
    Peer(Peer),
    /// Tenant of a valid key.
    Tenant(Tenant),
}

/// Cell of a request's sender, which is known by and by. It outlives the request: the listener
/// reads it when there is a response.
#[derive(Clone, Default)]
pub(crate) struct SenderCell(Arc<Mutex<Option<Sender>>>);

impl SenderCell {
    /// Returns the cell of a request.
    pub(crate) fn of(request: &Request) -> Self {
        request.data::<Self>().cloned().unwrap_or_default()
    }

    /// Returns the sender; none if only a trusted proxy is known.
    pub(crate) fn get(&self) -> Option<Sender> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set(&self, sender: Sender) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
    }
}
