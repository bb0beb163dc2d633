//! How many outputs a worker takes at a time. An output that crawls lets another one in: it waits, and waiting takes next
//! to nothing.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// The slots.
#[derive(Debug)]
pub struct Slots {
    free: Semaphore,
    /// How many of those that come back are to be kept.
    owed: Mutex<usize>,
}

/// One of them; dropping it gives it back.
#[derive(Debug)]
pub struct Slot(Arc<Slots>);

/// One more than there are, until it is dropped.
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
        // Nobody closes the semaphore, which would be the only error.
        if let Ok(permit) = self.free.acquire().await {
            permit.forget();
        }
        Slot(Arc::clone(self))
    }

    /// A slot, if one is free.
    #[must_use]
    pub fn try_acquire(self: &Arc<Self>) -> Option<Slot> {
        self.free.try_acquire().ok()?.forget();
        Some(Slot(Arc::clone(self)))
    }

    /// How many are free.
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
    fn an_extra_slot_is_there_until_it_is_dropped() {
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
