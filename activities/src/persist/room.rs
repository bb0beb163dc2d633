//! What an output on its way takes of what all share: a place while it moves, a seat while it crawls. A source that yields
//! little holds little memory, and whoever waits for it needs no slot that another output could have.
//!
//! An output that waited for a second, and got less than 256 KiB meanwhile, gives its place up, and its slot to another.
//! When more arrives it waits for a place again, reading nothing. A tenant that has its share of the seats as well gets
//! the attempt back, to be made later.

use std::{pin::pin, time::Duration};

use darkroom_workflows::{failure::FailureType, tenant::Tenant};
use tokio::time::{Instant, sleep, timeout};

use super::{
    memory::{Memory, Reserved},
    shares::Share,
    slots::ExtraSlot,
};
use crate::failure::Failure;

/// How long an output is waited for before it is asked whether it crawls.
const WINDOW: Duration = Duration::from_secs(1);

/// The bytes that must arrive within that time.
const CRAWL: u64 = 256 * 1024;

/// How long an attempt waits for a place: what is before it moves.
const PATIENCE: Duration = Duration::from_secs(5);

/// When an attempt that found no room is made again.
const LATER: Duration = Duration::from_secs(10);

/// The room of one output.
#[derive(Debug)]
pub struct Room {
    memory: Memory,
    tenant: Option<Tenant>,
    taken: Taken,
    /// How long it was waited for, and what arrived meanwhile.
    waited: Duration,
    arrived: u64,
}

#[derive(Debug)]
enum Taken {
    Place(#[expect(dead_code, reason = "held")] Share),
    Seat(#[expect(dead_code, reason = "held")] (Share, ExtraSlot)),
}

impl Room {
    /// Waits for a place.
    ///
    /// # Errors
    /// If the tenant's outputs have their share of the places, and go on having it.
    pub async fn enter(memory: &Memory, tenant: Option<&Tenant>) -> Result<Self, Failure> {
        let place = timeout(PATIENCE, memory.places.acquire(tenant, 1));
        let place = place.await.map_err(|_| crowded())?;
        Ok(Self {
            memory: memory.clone(),
            tenant: tenant.cloned(),
            taken: Taken::Place(place),
            waited: Duration::ZERO,
            arrived: 0,
        })
    }

    /// Waits for something that takes nothing while it is waited for.
    ///
    /// # Errors
    /// If it takes its time, and there is no seat left for the tenant.
    pub(super) async fn wait<T>(&mut self, what: impl Future<Output = T>) -> Result<T, Failure> {
        let mut what = pin!(what);
        loop {
            let begin = Instant::now();
            let done = tokio::select! {
                biased;
                done = &mut what => Some(done),
                () = sleep(WINDOW.saturating_sub(self.waited)) => None,
            };
            self.waited += begin.elapsed();
            if self.waited >= WINDOW {
                self.judge()?;
            }
            if let Some(done) = done {
                return Ok(done);
            }
        }
    }

    /// Waits for a buffer.
    ///
    /// # Errors
    /// As [`Room::wait`].
    pub(super) async fn buffer(&mut self, bytes: usize) -> Result<Reserved, Failure> {
        let (memory, tenant) = (self.memory.clone(), self.tenant.clone());
        self.wait(memory.buffer(tenant.as_ref(), bytes)).await
    }

    /// Notes that bytes have arrived. If they are many again, waits for the place that they need.
    pub(super) async fn arrived(&mut self, bytes: usize) {
        self.arrived += bytes as u64;
        if matches!(self.taken, Taken::Seat(_)) && self.arrived >= CRAWL {
            let place = self.memory.places.acquire(self.tenant.as_ref(), 1).await;
            self.taken = Taken::Place(place);
            (self.waited, self.arrived) = (Duration::ZERO, 0);
        }
    }

    fn judge(&mut self) -> Result<(), Failure> {
        if matches!(self.taken, Taken::Place(_)) && self.arrived < CRAWL {
            let seat = self.memory.seats.try_acquire(self.tenant.as_ref(), 1);
            let seat = seat.ok_or_else(crowded)?;
            self.taken = Taken::Seat((seat, self.memory.slots().extra()));
        }
        (self.waited, self.arrived) = (Duration::ZERO, 0);
        Ok(())
    }
}

fn crowded() -> Failure {
    Failure::retry_after(
        FailureType::Interrupted,
        "other outputs of this tenant take all the room that one may have",
        LATER,
    )
}
