//! Amounts with a limit for all peers together and for each peer: connections, bytes of request
//! bodies in flight.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::Peer;

/// Limits of an amount: for all peers together, and for each of them.
pub(crate) struct Shares {
    of_all: usize,
    of_each: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    by_all: usize,
    by_each: HashMap<Peer, usize>,
}

/// Share of an amount; dropping it releases it.
pub(crate) struct Share {
    shares: Arc<Shares>,
    peer: Option<Peer>,
    amount: usize,
}

impl Shares {
    pub(crate) fn new(of_all: usize, of_each: usize) -> Arc<Self> {
        Arc::new(Self {
            of_all,
            of_each,
            taken: Mutex::default(),
        })
    }

    /// Returns an empty share of a peer. If the peer is unknown, only the limit of all applies.
    pub(crate) fn share(self: &Arc<Self>, peer: Option<Peer>) -> Share {
        Share {
            shares: Arc::clone(self),
            peer,
            amount: 0,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Takes an additional amount. Returns false, and takes nothing, if that exceeds a limit.
    pub(crate) fn grow(&mut self, amount: usize) -> bool {
        let mut taken = self.shares.lock();
        let by_peer = self.peer.map_or(0, |peer| {
            taken.by_each.get(&peer).copied().unwrap_or_default()
        });
        let is_there = taken.by_all.saturating_add(amount) <= self.shares.of_all
            && by_peer.saturating_add(amount) <= self.shares.of_each;
        if is_there {
            taken.by_all += amount;
            if let Some(peer) = self.peer {
                taken.by_each.insert(peer, by_peer + amount);
            }
            self.amount += amount;
        }
        is_there
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.lock();
        taken.by_all = taken.by_all.saturating_sub(self.amount);
        let Some(peer) = self.peer else { return };
        let left = taken.by_each.get(&peer).copied().unwrap_or_default();
        match left.saturating_sub(self.amount) {
            0 => taken.by_each.remove(&peer),
            left => taken.by_each.insert(peer, left),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn shares_are_limited_and_returned() {
        let shares = Shares::new(10, 6);
        let peer = |last| Some(Peer::of(Ipv4Addr::new(192, 0, 2, last).into()));
        let mut first = shares.share(peer(1));
        assert!(first.grow(4) && first.grow(2) && !first.grow(1));
        let mut second = shares.share(peer(2));
        assert!(!second.grow(5) && second.grow(4));
        assert!(!shares.share(None).grow(1), "there are ten in all");
        drop(first);
        assert!(shares.share(peer(1)).grow(6));
        assert!(shares.share(None).grow(6));
        assert_eq!(shares.lock().by_each.len(), 1);
    }
}
