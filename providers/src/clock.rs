//! Skew of a provider's clock, measured from the `Date` of its answers ([RFC 9110,
//! 6.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-6.6.1)), to about a second.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{DATE, HeaderMap};

/// Value before the first answer.
const UNKNOWN: i64 = i64::MIN;

/// Skew of a provider's clock.
#[derive(Debug)]
pub(crate) struct ProviderClock(AtomicI64);

impl ProviderClock {
    pub(crate) fn new() -> Self {
        Self(AtomicI64::new(UNKNOWN))
    }

    /// Measures the skew from an answer that has just arrived.
    pub(crate) fn observe(&self, headers: &HeaderMap, now: Timestamp) {
        let date = headers
            .get(DATE)
            .and_then(|date| jiff::fmt::rfc2822::parse(date.to_str().ok()?).ok());
        if let Some(date) = date {
            // The header has whole seconds: on average it is half a second old.
            let skew = date.timestamp().duration_since(now) + SignedDuration::from_millis(500);
            let millis = i64::try_from(skew.as_millis()).unwrap_or(UNKNOWN);
            self.0.store(millis, Ordering::Relaxed);
        }
    }

    /// Time by which the provider's clock is ahead of ours; `None` before the first answer.
    pub(crate) fn skew(&self) -> Option<SignedDuration> {
        match self.0.load(Ordering::Relaxed) {
            UNKNOWN => None,
            millis => Some(SignedDuration::from_millis(millis)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_skew_is_read_from_the_date_header() {
        let clock = ProviderClock::new();
        assert_eq!(clock.skew(), None);
        let mut headers = HeaderMap::new();
        headers.insert(DATE, "Thu, 01 Jan 1970 01:00:00 GMT".parse().unwrap());
        clock.observe(&headers, Timestamp::UNIX_EPOCH);
        assert_eq!(clock.skew(), Some(SignedDuration::from_millis(3_600_500)));
        headers.insert(DATE, "yesterday".parse().unwrap());
        clock.observe(&headers, Timestamp::UNIX_EPOCH);
        assert_eq!(clock.skew(), Some(SignedDuration::from_millis(3_600_500)));
    }
}
