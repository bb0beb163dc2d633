//! A single permit that tenants take in turn, however many outputs of each of them wait for it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use darkroom_workflows::tenant::Tenant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A permit, for one output at a time. The outputs of a tenant wait among themselves, so that one
/// of each tenant waits for the permit itself: first come, first served.
#[derive(Debug)]
pub(super) struct Turns {
    permit: Arc<Semaphore>,
    lines: Mutex<HashMap<Option<Tenant>, Weak<Semaphore>>>,
}

/// The permit while it is held; dropping it passes it on.
#[derive(Debug)]
pub(super) struct Turn {
    // Dropped in this order: the next output of this tenant comes after those of the others.
    _permit: Option<OwnedSemaphorePermit>,
    _first_in_line: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            permit: Arc::new(Semaphore::new(1)),
            lines: Mutex::default(),
        })
    }

    /// Waits for the permit.
    pub(super) async fn take(&self, tenant: Option<&Tenant>) -> Turn {
        // Neither semaphore is ever closed, which would be the only error.
        let first_in_line = self.line(tenant).acquire_owned().await.ok();
        Turn {
            _permit: Arc::clone(&self.permit).acquire_owned().await.ok(),
            _first_in_line: first_in_line,
        }
    }

    /// Returns the line of a tenant. It exists for as long as an output waits in it or holds the
    /// permit.
    fn line(&self, tenant: Option<&Tenant>) -> Arc<Semaphore> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let tenant = tenant.cloned();
        if let Some(line) = lines.get(&tenant).and_then(Weak::upgrade) {
            return line;
        }
        lines.retain(|_, line| line.strong_count() > 0);
        let line = Arc::new(Semaphore::new(1));
        lines.insert(tenant, Arc::downgrade(&line));
        line
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::BoxFuture};

    use super::*;

    #[tokio::test]
    async fn tenants_take_turns() {
        let turns = Turns::new();
        let tenant = |name: &str| Some(name.parse::<Tenant>().unwrap());
        let (a, b) = (tenant("a"), tenant("b"));
        let take = |tenant: &Option<Tenant>| -> BoxFuture<'static, Turn> {
            let (turns, tenant) = (Arc::clone(&turns), tenant.clone());
            async move { turns.take(tenant.as_ref()).await }.boxed()
        };
        let held = take(&a).await;
        let (mut second, mut third, mut of_b) = (take(&a), take(&a), take(&b));
        for waiting in [&mut second, &mut third, &mut of_b] {
            assert!(waiting.now_or_never().is_none());
        }
        drop(held);
        assert!((&mut second).now_or_never().is_none(), "b came before it");
        let held = of_b.now_or_never().unwrap();
        assert!((&mut second).now_or_never().is_none());
        drop(held);
        drop(second.now_or_never().unwrap());
        drop(third.now_or_never().unwrap());
        drop(take(&b).await);
        assert_eq!(turns.lines.lock().unwrap().len(), 1, "a's line is gone");
    }
}
