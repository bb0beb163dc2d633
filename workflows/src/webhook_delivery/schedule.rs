//! Retry schedule of a webhook delivery: short delays at first, then longer ones, for three days.

use std::time::Duration;

/// Longest `Retry-After` of a receiver that is followed.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(6);

/// Returns the delays from each attempt to the next.
pub(super) fn delays() -> impl Iterator<Item = Duration> {
    [
        Duration::from_secs(5),
        Duration::from_mins(5),
        Duration::from_mins(30),
        Duration::from_hours(2),
        Duration::from_hours(5),
        Duration::from_hours(10),
        Duration::from_hours(14),
        Duration::from_hours(20),
        Duration::from_hours(20),
    ]
    .into_iter()
}

/// Returns the delay before the next attempt: a receiver's `Retry-After` extends it, up to the
/// limit.
pub(super) fn with_retry_after(delay: Duration, retry_after: Option<Duration>) -> Duration {
    delay.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_made_for_three_days() {
        let total: Duration = delays().sum();
        let days = |days: u64| Duration::from_hours(24 * days);
        assert!(
            days(3) < total + Duration::from_hours(1) && total < days(3),
            "{total:?}"
        );
        assert!(delays().is_sorted());
    }

    #[test]
    fn retry_after_extends_a_delay_up_to_the_limit() {
        let (short, long) = (Duration::from_secs(5), Duration::from_hours(10));
        assert_eq!(with_retry_after(short, None), short);
        assert_eq!(
            with_retry_after(short, Some(Duration::from_mins(1))),
            Duration::from_mins(1)
        );
        assert_eq!(
            with_retry_after(short, Some(Duration::from_hours(1000))),
            MAX_RETRY_AFTER
        );
        assert_eq!(with_retry_after(long, Some(Duration::from_mins(1))), long);
    }
}
