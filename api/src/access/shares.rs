//! Amounts with a limit for all senders together and for each sender: connections, bytes of bodies
//! in flight.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::Sender;

/// Limits of an amount: for all senders together, and for each of them.
pub(crate) struct Shares {
    of_all: usize,
    of_each: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    by_all: usize,
    by_each: HashMap<Sender, usize>,
}

/// Share of an amount; dropping it releases it.
pub(crate) struct Share {
    shares: Arc<Shares>,
    sender: Option<Sender>,
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

    /// Returns an empty share of a sender. If the sender is unknown, only the limit of all applies.
    pub(crate) fn share(self: &Arc<Self>, sender: Option<Sender>) -> Share {
        Share {
            shares: Arc::clone(self),
            sender,
            amount: 0,
        }
    }

    /// Returns true if a sender has reached a limit. One that holds nothing has not, even if others
    /// hold all there is.
    pub(crate) fn is_exhausted(&self, sender: &Sender) -> bool {
        let taken = self.lock();
        let is_full = taken.by_all >= self.of_all;
        let amount = taken.by_each.get(sender).copied().unwrap_or_default();
        amount >= self.of_each || is_full && amount > 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Takes an additional amount. Returns false, and takes nothing, if that exceeds a limit.
    pub(crate) fn grow(&mut self, amount: usize) -> bool {
        let shares = Arc::clone(&self.shares);
        let mut taken = shares.lock();
        let by_sender = self
            .sender
            .as_ref()
            .and_then(|sender| taken.by_each.get(sender));
        let by_sender = by_sender.copied().unwrap_or_default();
        let is_there = taken.by_all.saturating_add(amount) <= shares.of_all
            && by_sender.saturating_add(amount) <= shares.of_each;
        if is_there {
            self.add(&mut taken, amount);
        }
        is_there
    }

    /// Takes an additional amount, whatever the limits.
    pub(crate) fn exceed(&mut self, amount: usize) {
        let shares = Arc::clone(&self.shares);
        self.add(&mut shares.lock(), amount);
    }

    /// Returns the amount that it has taken.
    pub(crate) fn amount(&self) -> usize {
        self.amount
    }

    fn add(&mut self, taken: &mut Taken, amount: usize) {
        taken.by_all += amount;
        if let Some(sender) = &self.sender {
            *taken.by_each.entry(sender.clone()).or_default() += amount;
        }
        self.amount += amount;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.lock();
        taken.by_all = taken.by_all.saturating_sub(self.amount);
        let Some(sender) = &self.sender else { return };
        if let Some(left) = taken.by_each.get_mut(sender) {
            *left = left.saturating_sub(self.amount);
            if *left == 0 {
                taken.by_each.remove(sender);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::access::Peer;

    fn sender(last: u8) -> Sender {
        let address = Ipv4Addr::new(192, 0, 2, last);
        Sender::Peer(Peer::of(address.into()))
    }

    #[test]
    fn shares_are_limited_and_returned() {
        let shares = Shares::new(10, 6);
        let mut first = shares.share(Some(sender(1)));
        assert!(first.grow(4) && first.grow(2) && !first.grow(1));
        let mut second = shares.share(Some(sender(2)));
        assert!(!second.grow(5) && second.grow(4));
        assert!(!shares.share(None).grow(1), "there are ten in all");
        drop(first);
        assert!(shares.share(Some(sender(1))).grow(6));
        assert!(shares.share(None).grow(6));
        assert_eq!(shares.lock().by_each.len(), 1);
    }

    #[test]
    fn who_holds_nothing_is_served_although_others_hold_all() {
        let shares = Shares::new(10, 6);
        let (mut first, mut second) =
            (shares.share(Some(sender(1))), shares.share(Some(sender(2))));
        first.exceed(5);
        assert!(!shares.is_exhausted(&sender(1)));
        first.exceed(5);
        assert!(shares.is_exhausted(&sender(1)), "it holds ten of six");
        second.exceed(1);
        assert!(shares.is_exhausted(&sender(2)));
        assert!(!shares.is_exhausted(&sender(3)));
        drop(first);
        assert!(!shares.is_exhausted(&sender(2)));
        drop(second);
        assert!(shares.lock().by_each.is_empty());
    }
}
