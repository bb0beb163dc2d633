//! The memory that all outputs on their way share: half of it in buffers, for those that need one, a quarter in places, one
//! for each output that moves, and a quarter in seats, for those that [crawl](super::room). Whoever finds none left waits
//! for its turn, so that more outputs at a time take longer instead of taking more; and no tenant can have it all.

use std::{num::NonZeroUsize, sync::Arc};

use darkroom_workflows::tenant::Tenant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    shares::{Share, Shares},
    slots::Slots,
};

/// What an output that moves takes without a buffer: what the HTTP clients on both sides hold of it.
pub(super) const PLACE: usize = 1024 * 1024;

/// What an output takes that crawls.
const SEAT: usize = 64 * 1024;

/// What one unit of the buffers stands for.
const UNIT: usize = 64 * 1024;

/// A budget.
#[derive(Clone, Debug)]
pub struct Memory {
    pub(super) places: Arc<Shares>,
    pub(super) seats: Arc<Shares>,
    buffers: Arc<Shares>,
    turn: Arc<Semaphore>,
    slots: Arc<Slots>,
}

/// A part of the budget; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Reserved {
    _share: Option<Share>,
}

impl Memory {
    /// How many outputs can move at a time in so many bytes.
    #[must_use]
    pub const fn most_at_a_time(bytes: usize) -> usize {
        bytes / 4 / PLACE
    }

    /// A budget of so many bytes, for so many outputs at a time that move.
    #[must_use]
    pub fn new(bytes: usize, at_a_time: NonZeroUsize) -> Self {
        let units = |count: usize| Shares::new(u32::try_from(count).unwrap_or(u32::MAX).max(1));
        Self {
            places: units(at_a_time.get()),
            seats: units(bytes / 4 / SEAT),
            buffers: units(bytes / 2 / UNIT),
            turn: Arc::new(Semaphore::new(1)),
            slots: Slots::new(at_a_time.get()),
        }
    }

    /// How many outputs a worker may take: as many as can move, and one for each that crawls.
    #[must_use]
    pub fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    /// Waits for the one turn of those who must hold something of unknown size beyond the budget.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // Nobody closes a semaphore, which would be the only error.
        Arc::clone(&self.turn).acquire_owned().await.ok()
    }

    /// Waits for a buffer of this many bytes; never for more than there are. A small one fits into the place that its
    /// output has.
    pub(super) async fn buffer(&self, tenant: Option<&Tenant>, bytes: usize) -> Reserved {
        if bytes <= PLACE {
            return Reserved { _share: None };
        }
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        Reserved {
            _share: Some(self.buffers.acquire(tenant, units).await),
        }
    }

    /// A buffer of this many bytes, if it is free now.
    pub(super) fn try_buffer(&self, tenant: Option<&Tenant>, bytes: usize) -> Option<Reserved> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        let share = self.buffers.try_acquire(tenant, units)?;
        Some(Reserved {
            _share: Some(share),
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn only_a_large_buffer_is_waited_for() {
        let memory = Memory::new(16 * PLACE, NonZeroUsize::MIN);
        let first = memory.buffer(None, 100 * PLACE).await;
        assert!(memory.buffer(None, 2 * PLACE).now_or_never().is_none());
        assert!(memory.try_buffer(None, 2 * PLACE).is_none());
        assert!(memory.buffer(None, PLACE).now_or_never().is_some());
        drop(first);
        assert!(memory.try_buffer(None, 2 * PLACE).is_some());
        assert!(memory.buffer(None, 2 * PLACE).now_or_never().is_some());
    }
}
