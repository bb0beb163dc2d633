//! The slots of a worker: how many outputs it takes at a time. An output with a slow source lets
//! another one in: it only waits, which takes next to no memory.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// Slots of a worker: a semaphore that can grow and shrink.
#[derive(Debug)]
pub struct Slots {
    free: Semaphore,
    /// Number of slots that are withdrawn as soon as they are returned.
    owed: Mutex<usize>,
}

/// One slot; dropping it returns it.
#[derive(Debug)]
pub struct Slot(Arc<Slots>);

/// An additional slot, which exists until it is dropped.
#[derive(Debug)]
pub(super) struct ExtraSlot(Arc<Slots>);

impl Slots {
    pub(super) fn new(slots: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Semaphore::new(slots),
            owed: Mutex::new(0),
        })
    }

    /// Waits for a slot, first come, first served.
    pub async fn acquire(self: &Arc<Self>) -> Slot {
        // The semaphore is never closed, which would be the only error.
        if let Ok(permit) = self.free.acquire().await {
            permit.forget();
        }
        Slot(Arc::clone(self))
    }

    /// Returns a slot, if one is free.
    #[must_use]
    pub fn try_acquire(self: &Arc<Self>) -> Option<Slot> {
        self.free.try_acquire().ok()?.forget();
        Some(Slot(Arc::clone(self)))
    }

    /// Number of free slots.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    pub(super) fn extra(self: &Arc<Self>) -> ExtraSlot {
        self.add();
        ExtraSlot(Arc::clone(self))
    }

    fn add(&self) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        match owed.checked_sub(1) {
            Some(less) => *owed = less,
            None => self.free.add_permits(1),
        }
    }

    fn remove(&self) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.free.forget_permits(1) == 0 {
            *owed += 1;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.add();
    }
}

impl Drop for ExtraSlot {
    fn drop(&mut self) {
        self.0.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_slot_exists_until_it_is_dropped() {
        let slots = Slots::new(1);
        let first = slots.try_acquire().unwrap();
        assert!(slots.try_acquire().is_none());
        let extra = slots.extra();
        let second = slots.try_acquire().unwrap();
        drop(extra);
        drop(first);
        assert_eq!(slots.free(), 0, "the one that came back was owed");
        drop(second);
        assert_eq!(slots.free(), 1);
        drop(slots.extra());
        assert_eq!(slots.free(), 1);
    }
}
