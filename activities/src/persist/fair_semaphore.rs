//! A semaphore that tenants share fairly: permits are granted first come, first served, and each
//! tenant can hold only as many as leave something for the others. A single tenant may hold three
//! quarters; the more tenants there are, the less each of them.
//!
//! The rule is that of dynamic thresholds, by which switches share their buffers: a tenant that
//! holds nothing may take what is free, and a tenant that holds permits may hold at most [`RATIO`]
//! times what it leaves free.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use darkroom_workflows::tenant::Tenant;
use tokio::sync::oneshot;

/// Maximum ratio between the permits that a tenant holds and those that it leaves free.
const RATIO: u32 = 3;

/// A fixed number of permits, in units.
#[derive(Debug)]
pub(super) struct FairSemaphore(Mutex<State>);

/// Permits that are held; dropping them returns them.
#[derive(Debug)]
pub(super) struct FairPermit {
    shares: Arc<FairSemaphore>,
    holder: Holder,
    units: u32,
}

/// The tenant that holds permits; requests without a tenant count as one tenant.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Holder(Option<Tenant>);

impl FairSemaphore {
    pub(super) fn new(units: u32) -> Arc<Self> {
        let (held, waiting) = (HashMap::new(), VecDeque::new());
        Arc::new(Self(Mutex::new(State {
            all: units,
            free: units,
            held,
            waiting,
        })))
    }

    /// Waits for permits, at most for as many as there are.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        tenant: Option<&Tenant>,
        units: u32,
    ) -> FairPermit {
        loop {
            // Fails only if the queue were dropped, which never happens.
            if let Ok(share) = self.enqueue(tenant, units).await {
                return share;
            }
        }
    }

    fn enqueue(
        self: &Arc<Self>,
        tenant: Option<&Tenant>,
        units: u32,
    ) -> oneshot::Receiver<FairPermit> {
        let (grant, granted) = oneshot::channel();
        let mut state = self.lock();
        let units = units.min(state.all);
        let holder = Holder(tenant.cloned());
        state.waiting.push_back(Waiting {
            holder,
            units,
            grant,
        });
        drop(state);
        self.grant();
        granted
    }

    /// Returns permits if the tenant may have them now.
    pub(super) fn try_acquire(
        self: &Arc<Self>,
        tenant: Option<&Tenant>,
        units: u32,
    ) -> Option<FairPermit> {
        let holder = Holder(tenant.cloned());
        let mut state = self.lock();
        (state.may_take(&holder, units) == Admission::Now).then(|| {
            state.take(&holder, units);
            FairPermit {
                shares: Arc::clone(self),
                holder,
                units,
            }
        })
    }

    /// Grants permits to the waiting requests that may have them.
    fn grant(self: &Arc<Self>) {
        let mut unwanted = Vec::new();
        let mut state = self.lock();
        state.waiting.retain(|waiting| !waiting.grant.is_closed());
        let mut at = 0;
        while let Some(next) = state.waiting.get(at) {
            match state.may_take(&next.holder, next.units) {
                Admission::BeyondItsShare => at += 1,
                // Smaller requests must not overtake this one for ever.
                Admission::WhenFree => break,
                Admission::Now => {
                    let Some(Waiting {
                        holder,
                        units,
                        grant,
                    }) = state.waiting.remove(at)
                    else {
                        break;
                    };
                    state.take(&holder, units);
                    let shares = Arc::clone(self);
                    let share = FairPermit {
                        shares,
                        holder,
                        units,
                    };
                    unwanted.extend(grant.send(share).err());
                }
            }
        }
        // Dropping a share takes the lock.
        drop(state);
        drop(unwanted);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FairPermit {
    fn drop(&mut self) {
        self.shares.lock().give_back(&self.holder, self.units);
        self.shares.grant();
    }
}

#[derive(Debug)]
struct State {
    all: u32,
    free: u32,
    held: HashMap<Holder, u32>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    holder: Holder,
    units: u32,
    grant: oneshot::Sender<FairPermit>,
}

#[derive(Debug, Eq, PartialEq)]
enum Admission {
    Now,
    WhenFree,
    BeyondItsShare,
}

impl State {
    fn may_take(&self, holder: &Holder, units: u32) -> Admission {
        let left = self.free.checked_sub(units);
        match (self.held.get(holder), left) {
            (None, None) => Admission::WhenFree,
            (None, Some(_)) => Admission::Now,
            (Some(held), Some(left)) if held + units <= RATIO.saturating_mul(left) => {
                Admission::Now
            }
            (Some(_), _) => Admission::BeyondItsShare,
        }
    }

    fn take(&mut self, holder: &Holder, units: u32) {
        self.free -= units;
        *self.held.entry(holder.clone()).or_default() += units;
    }

    fn give_back(&mut self, holder: &Holder, units: u32) {
        self.free += units;
        if let Some(held) = self.held.get_mut(holder) {
            *held -= units;
            if *held == 0 {
                self.held.remove(holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn tenant(name: &str) -> Tenant {
        name.parse().unwrap()
    }

    fn take(shares: &Arc<FairSemaphore>, name: &str, units: u32) -> Vec<FairPermit> {
        std::iter::from_fn(|| shares.try_acquire(Some(&tenant(name)), units)).collect()
    }

    #[test]
    fn each_tenant_leaves_permits_for_others() {
        let shares = FairSemaphore::new(32);
        let a = take(&shares, "a", 1);
        let b = take(&shares, "b", 1);
        let c = take(&shares, "c", 1);
        assert_eq!((a.len(), b.len(), c.len()), (24, 6, 1));
        drop(a);
        assert_eq!(take(&shares, "c", 1).len(), 18);
    }

    #[test]
    fn large_requests_are_shared_fairly() {
        let shares = FairSemaphore::new(1024);
        let a = take(&shares, "a", 128);
        assert_eq!(a.len(), 6);
        assert!(!take(&shares, "b", 128).is_empty());
    }

    #[tokio::test]
    async fn only_requests_beyond_their_share_are_overtaken() {
        let shares = FairSemaphore::new(4);
        let (a, b) = (tenant("a"), tenant("b"));
        let first = shares.acquire(Some(&a), 3).await;
        let mut second = Box::pin(shares.acquire(Some(&a), 1));
        assert!((&mut second).now_or_never().is_none(), "beyond its share");
        let mut large = Box::pin(shares.acquire(Some(&b), 2));
        assert!((&mut large).now_or_never().is_none(), "there is one");
        let mut small = Box::pin(shares.acquire(None, 1));
        assert!(
            (&mut small).now_or_never().is_none(),
            "the larger came first"
        );
        drop(first);
        assert!(second.now_or_never().is_some());
        assert!(large.now_or_never().is_some());
        assert!(small.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_dropped_request_takes_no_permits() {
        let shares = FairSemaphore::new(1);
        let held = shares.acquire(None, 1).await;
        let mut gone = Box::pin(shares.acquire(None, 1));
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        drop(held);
        assert!(shares.acquire(None, 100).now_or_never().is_some());
        assert_eq!(shares.lock().free, 1);
        assert!(shares.lock().held.is_empty());
    }
}
