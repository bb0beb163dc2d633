//! Numbers of a job request, each with its limits.

use std::time::Duration;

use crate::bounded::bounded;

bounded! {
    /// Number of files to request; 1 by default.
    NumOutputs(u8) 1..=100
}

impl Default for NumOutputs {
    fn default() -> Self {
        Self(1)
    }
}

bounded! {
    /// Deadline of a job, in seconds after its acceptance: at most 7 days.
    DeadlineSeconds(u32) 1..=7 * 24 * 60 * 60
}

impl DeadlineSeconds {
    /// Deadline as a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

bounded! {
    /// Retention of a job, in seconds after its end: at most 10 years.
    ExpireAfterSeconds(u32) 1..=10 * 366 * 24 * 60 * 60
}

bounded! {
    /// Priority among waiting jobs, on Temporal's scale, where lower numbers come first: 3 is the
    /// default, 4 and 5 come later. Callers cannot choose 1 and 2, which are reserved for work that
    /// the operator starts and for work that must not wait.
    JobPriority(u8) 3..=5
}

impl JobPriority {
    const USUAL: Self = Self(3);

    /// Priority one step before that of these jobs, on Temporal's scale.
    #[must_use]
    pub fn before(self) -> u32 {
        u32::from(self.0) - 1
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    pub(super) fn is_usual(&self) -> bool {
        *self == Self::USUAL
    }
}

impl Default for JobPriority {
    fn default() -> Self {
        Self::USUAL
    }
}
