//! The memory that all outputs on their way share: half of it in places, one for each output that is on its way, half of
//! it in buffers, for those that need one. Whoever finds none left waits for its turn, so that more outputs at a time take
//! longer instead of taking more. A place is taken before a buffer is asked for, and a buffer that is full empties without
//! asking for anything: nobody waits for whoever waits for them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What an output on its way takes without a buffer: what the HTTP clients on both sides hold of it.
pub(super) const PLACE: usize = 1024 * 1024;

/// What one permit of the buffers stands for.
const UNIT: usize = 64 * 1024;

/// A budget in bytes.
#[derive(Clone, Debug)]
pub struct Memory {
    places: Arc<Semaphore>,
    buffers: Arc<Semaphore>,
    all_buffers: u32,
    turn: Arc<Semaphore>,
}

/// A part of the budget; dropping it gives it back.
#[derive(Debug)]
pub struct Reserved {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// A budget of this many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let half = bytes / 2;
        let places = (half / PLACE).clamp(1, Semaphore::MAX_PERMITS);
        let units = u32::try_from(half / UNIT).unwrap_or(u32::MAX).max(1);
        let buffers = Semaphore::new(usize::try_from(units).unwrap_or(Semaphore::MAX_PERMITS));
        Self {
            places: Arc::new(Semaphore::new(places)),
            buffers: Arc::new(buffers),
            all_buffers: units,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Waits for a place, first come, first served.
    pub async fn place(&self) -> Reserved {
        // Nobody closes a semaphore, which would be the only error.
        Reserved {
            _permit: Arc::clone(&self.places).acquire_owned().await.ok(),
        }
    }

    /// Waits for the one turn of those who must hold something of unknown size beyond the budget.
    pub(super) async fn turn(&self) -> Reserved {
        Reserved {
            _permit: Arc::clone(&self.turn).acquire_owned().await.ok(),
        }
    }

    /// Waits for a buffer of this many bytes, first come, first served; never for more than there are. A small one fits
    /// into the place that its output has.
    pub(super) async fn buffer(&self, bytes: usize) -> Reserved {
        if bytes <= PLACE {
            return Reserved { _permit: None };
        }
        let units = u32::try_from(bytes.div_ceil(UNIT))
            .unwrap_or(u32::MAX)
            .min(self.all_buffers);
        Reserved {
            _permit: Arc::clone(&self.buffers)
                .acquire_many_owned(units)
                .await
                .ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_is_reserved_is_waited_for_in_order() {
        let memory = Memory::new(16 * PLACE);
        let first = memory.buffer(6 * PLACE).await;
        let mut large = Box::pin(memory.buffer(4 * PLACE));
        assert!((&mut large).now_or_never().is_none());
        assert!(
            memory.buffer(2 * PLACE).now_or_never().is_none(),
            "a smaller one must not overtake"
        );
        assert!(
            memory.buffer(PLACE).now_or_never().is_some(),
            "a small one needs no turn"
        );
        drop(first);
        assert!(large.now_or_never().is_some());
    }

    #[tokio::test]
    async fn nobody_waits_for_more_than_there_is() {
        let memory = Memory::new(PLACE);
        drop(memory.buffer(100 * PLACE).await);
        let place = memory.place().now_or_never();
        assert!(place.is_some());
        assert!(memory.place().now_or_never().is_none());
    }
}
