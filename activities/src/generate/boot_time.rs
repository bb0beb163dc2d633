//! A clock that advances while a process is stopped and while its machine is suspended.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// An instant of that clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct BootTime(Timespec);

impl BootTime {
    pub(super) fn now() -> Self {
        Self(clock_gettime(CLOCK))
    }

    /// Time since this instant.
    pub(super) fn elapsed(self) -> Duration {
        Duration::try_from(clock_gettime(CLOCK) - self.0).unwrap_or_default()
    }
}

/// Clock that counts suspended time:
/// [`clock_gettime(2)`](https://man7.org/linux/man-pages/man2/clock_gettime.2.html).
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;

/// Nearest clock elsewhere, the monotonic one; that of macOS counts suspended time too.
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes() {
        let began = BootTime::now();
        assert!(began.elapsed() < Duration::from_mins(1));
        assert!(began.elapsed() <= began.elapsed());
    }
}
