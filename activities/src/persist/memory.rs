//! The memory budget of all outputs: half of it for buffers, a quarter for outputs that move, a
//! quarter for [slow](super::budget_lease) ones. An output that moves holds a permit of `moving`, a
//! slow one of `slow`. An output that finds no permit waits, so that more outputs at a time take
//! longer instead of more memory; and no tenant can have the whole budget.

use std::{num::NonZeroUsize, sync::Arc};

use darkroom_workflows::tenant::Tenant;

use super::{
    fair_semaphore::{FairPermit, FairSemaphore},
    slots::Slots,
    turns::{Turn, Turns},
};

/// Memory of an output that moves, in bytes, without its buffers: what the HTTP clients on both
/// sides hold of it.
pub(super) const MOVING_BYTES: usize = 1024 * 1024;

/// Memory of a slow output, in bytes.
const SLOW_BYTES: usize = 64 * 1024;

/// Size of one permit for buffers, in bytes.
const UNIT: usize = 64 * 1024;

/// A memory budget.
#[derive(Clone, Debug)]
pub struct Memory {
    pub(super) moving: Arc<FairSemaphore>,
    pub(super) slow: Arc<FairSemaphore>,
    buffers: Arc<FairSemaphore>,
    inline: Arc<Turns>,
    slots: Arc<Slots>,
}

/// A reservation in the budget; dropping it frees it.
#[derive(Debug)]
pub(super) struct Reserved {
    _share: Option<FairPermit>,
}

impl Memory {
    /// Returns the number of outputs that can move at a time within so many bytes.
    #[must_use]
    pub const fn most_at_a_time(bytes: usize) -> usize {
        bytes / 4 / MOVING_BYTES
    }

    /// Creates a budget of so many bytes, for so many outputs that move at a time.
    #[must_use]
    pub fn new(bytes: usize, at_a_time: NonZeroUsize) -> Self {
        let units =
            |count: usize| FairSemaphore::new(u32::try_from(count).unwrap_or(u32::MAX).max(1));
        Self {
            moving: units(at_a_time.get()),
            slow: units(bytes / 4 / SLOW_BYTES),
            buffers: units(bytes / 2 / UNIT),
            inline: Turns::new(),
            slots: Slots::new(at_a_time.get()),
        }
    }

    /// Slots of the worker: one for each output that can move, and one more for each slow one.
    #[must_use]
    pub fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    /// Waits for the only permit to hold something of unknown size beyond the budget.
    pub(super) async fn inline_permit(&self, tenant: Option<&Tenant>) -> Turn {
        self.inline.take(tenant).await
    }

    /// Waits for a buffer of this many bytes; a request for more than all buffers waits for all of
    /// them. A buffer of up to [`MOVING_BYTES`] bytes is covered by the permit of its output.
    pub(super) async fn reserve(&self, tenant: Option<&Tenant>, bytes: usize) -> Reserved {
        if bytes <= MOVING_BYTES {
            return Reserved { _share: None };
        }
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        Reserved {
            _share: Some(self.buffers.acquire(tenant, units).await),
        }
    }

    /// Returns a buffer of this many bytes, if it is free now.
    pub(super) fn try_reserve(&self, tenant: Option<&Tenant>, bytes: usize) -> Option<Reserved> {
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
    async fn only_large_buffers_wait_for_memory() {
        let memory = Memory::new(16 * MOVING_BYTES, NonZeroUsize::MIN);
        let first = memory.reserve(None, 100 * MOVING_BYTES).await;
        assert!(
            memory
                .reserve(None, 2 * MOVING_BYTES)
                .now_or_never()
                .is_none()
        );
        assert!(memory.try_reserve(None, 2 * MOVING_BYTES).is_none());
        assert!(memory.reserve(None, MOVING_BYTES).now_or_never().is_some());
        drop(first);
        assert!(memory.try_reserve(None, 2 * MOVING_BYTES).is_some());
        assert!(
            memory
                .reserve(None, 2 * MOVING_BYTES)
                .now_or_never()
                .is_some()
        );
    }
}
