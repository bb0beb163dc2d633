//! The part of the memory budget and of the worker's slots that one output takes. An output that
//! moves holds a moving permit. An output with a slow source holds a smaller one, a slow permit: it
//! needs little memory, and no slot that another output could have.
//!
//! An output that has waited for a second, and received less than 256 KiB meanwhile, counts as
//! slow: it frees its moving permit, and its slot for another output. When more arrives, it waits
//! for a moving permit again and reads nothing until it has one. If the tenant has its share of the
//! slow permits as well, the attempt fails and is retried later.

use std::{pin::pin, time::Duration};

use darkroom_workflows::{failure::FailureType, tenant::Tenant};
use tokio::time::{Instant, sleep, timeout};

use super::{
    fair_semaphore::FairPermit,
    memory::{Memory, Reserved},
    slots::ExtraSlot,
};
use crate::failure::Failure;

/// Time of waiting for an output's bytes after which its rate is judged.
const WINDOW: Duration = Duration::from_secs(1);

/// Bytes that must arrive within that time; with fewer, the output is slow.
const MIN_BYTES: u64 = 256 * 1024;

/// Timeout of waiting for a moving permit. The outputs that hold one move, so one is free soon.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Delay of the next attempt after one that found no permit.
const RETRY_DELAY: Duration = Duration::from_secs(10);

/// The part of the budget that one output holds.
#[derive(Debug)]
pub struct BudgetLease {
    memory: Memory,
    tenant: Option<Tenant>,
    permit: Permit,
    /// Time of waiting in the current window, and bytes that arrived in it.
    waited: Duration,
    arrived: u64,
}

#[derive(Debug)]
enum Permit {
    Moving(#[expect(dead_code, reason = "held")] FairPermit),
    Slow(#[expect(dead_code, reason = "held")] (FairPermit, ExtraSlot)),
}

impl BudgetLease {
    /// Waits for a moving permit.
    ///
    /// # Errors
    /// If the tenant's other outputs hold its share of the moving permits throughout the timeout.
    pub async fn enter(memory: &Memory, tenant: Option<&Tenant>) -> Result<Self, Failure> {
        let moving = timeout(PERMIT_TIMEOUT, memory.moving.acquire(tenant, 1));
        let moving = moving.await.map_err(|_| over_share())?;
        Ok(Self {
            memory: memory.clone(),
            tenant: tenant.cloned(),
            permit: Permit::Moving(moving),
            waited: Duration::ZERO,
            arrived: 0,
        })
    }

    /// Waits for a future that takes no memory while it is pending.
    ///
    /// # Errors
    /// If the output is slow and no slow permit is left for the tenant.
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
                self.check_rate()?;
            }
            if let Some(done) = done {
                return Ok(done);
            }
        }
    }

    /// Waits for a buffer.
    ///
    /// # Errors
    /// As [`BudgetLease::wait`].
    pub(super) async fn reserve(&mut self, bytes: usize) -> Result<Reserved, Failure> {
        let (memory, tenant) = (self.memory.clone(), self.tenant.clone());
        self.wait(memory.reserve(tenant.as_ref(), bytes)).await
    }

    /// Counts bytes that have arrived. If the output is no longer slow, waits for a moving permit.
    pub(super) async fn arrived(&mut self, bytes: usize) {
        self.arrived += bytes as u64;
        if matches!(self.permit, Permit::Slow(_)) && self.arrived >= MIN_BYTES {
            let moving = self.memory.moving.acquire(self.tenant.as_ref(), 1).await;
            self.permit = Permit::Moving(moving);
            (self.waited, self.arrived) = (Duration::ZERO, 0);
        }
    }

    fn check_rate(&mut self) -> Result<(), Failure> {
        if matches!(self.permit, Permit::Moving(_)) && self.arrived < MIN_BYTES {
            let slow = self.memory.slow.try_acquire(self.tenant.as_ref(), 1);
            let slow = slow.ok_or_else(over_share)?;
            self.permit = Permit::Slow((slow, self.memory.slots().extra()));
        }
        (self.waited, self.arrived) = (Duration::ZERO, 0);
        Ok(())
    }
}

fn over_share() -> Failure {
    Failure::retry_after(
        FailureType::Interrupted,
        "other outputs of this tenant take its whole share of the worker's memory",
        RETRY_DELAY,
    )
}
