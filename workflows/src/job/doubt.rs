//! A submission in doubt: its answer is lost, so the provider may have the work, and nothing is
//! paid for again before that is settled.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Id of one submission. It is part of the URL that the provider reports to, so a report says which
/// of a job's submissions it is of.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubmissionId(String);

/// Error: the text is not a submission id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be 1 to 64 of a-z and 0-9")]
pub struct InvalidSubmissionId;

impl SubmissionId {
    const MAX: usize = 64;

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<[u8; 16]> for SubmissionId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }
}

impl FromStr for SubmissionId {
    type Err = InvalidSubmissionId;

    fn from_str(text: &str) -> Result<Self, InvalidSubmissionId> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for SubmissionId {
    type Error = InvalidSubmissionId;

    fn try_from(text: String) -> Result<Self, InvalidSubmissionId> {
        let is_id = (1..=Self::MAX).contains(&text.len())
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
        if is_id {
            Ok(Self(text))
        } else {
            Err(InvalidSubmissionId)
        }
    }
}

impl From<SubmissionId> for String {
    fn from(id: SubmissionId) -> Self {
        id.0
    }
}

impl fmt::Display for SubmissionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A submission that the provider may or may not have accepted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Doubt {
    /// Id of the submission. If absent, its record is lost as well, and any of the job's
    /// submissions in the time below counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submission_id: Option<SubmissionId>,
    /// Earliest time at which it may have been sent, by our clock.
    pub since: Timestamp,
    /// Latest time at which it may have been sent, by our clock.
    pub until: Timestamp,
    /// Milliseconds by which the provider's clock is ahead of ours, if one of its answers has shown
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_ms: Option<i64>,
    /// Cause of the doubt.
    pub cause: DoubtCause,
    /// Seconds for which to search for a request that may still be in flight.
    pub search_seconds: u32,
    /// Action if the provider never shows it.
    pub if_not_found: IfNotFound,
}

/// Cause of a doubt.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubtCause {
    /// Missing answer, or only a gateway's: the request may still be in flight.
    Unanswered,
    /// Failure of the provider itself while it answered: what it accepted shows up soon.
    ProviderFailed,
    /// Loss of the attempt that sent the submission.
    Interrupted,
    /// Loss of the record of the submission, as after a reset.
    RecordLost,
}

/// Action for a submission that the provider never shows.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IfNotFound {
    /// Failure of the job: a person decides whether to pay again.
    Fail,
    /// Another submission.
    Resubmit,
}

impl FromStr for IfNotFound {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "fail" => Ok(Self::Fail),
            "resubmit" => Ok(Self::Resubmit),
            _ => Err("must be fail or resubmit"),
        }
    }
}

impl Doubt {
    /// Returns the times of the searches, each as the delay after the latest time at which it may
    /// have been sent.
    #[must_use]
    pub fn search_delays(&self) -> Vec<Duration> {
        /// Searches after the provider's own failure: what it accepted shows up within a minute.
        const PROVIDER_FAILED: &[u64] = &[5, 15, 60];
        /// Searches for an earlier attempt's request, which may be in flight for half a minute.
        const RECORD_LOST: &[u64] = &[0, 15, 45];
        /// Searches for a request that the provider may still be working on.
        const UNANSWERED: &[u64] = &[5, 15, 60, 5 * 60];
        let last = u64::from(self.search_seconds);
        let (delays, last) = match self.cause {
            DoubtCause::ProviderFailed => (PROVIDER_FAILED, None),
            DoubtCause::RecordLost => (RECORD_LOST, None),
            DoubtCause::Unanswered | DoubtCause::Interrupted => (UNANSWERED, Some(last)),
        };
        let earlier = delays
            .iter()
            .copied()
            .filter(|delay| last.is_none_or(|last| *delay < last));
        earlier.chain(last).map(Duration::from_secs).collect()
    }

    /// Returns the time in which the provider says that it accepted the submission, if it did, by
    /// the provider's clock.
    #[must_use]
    pub fn window(&self) -> (Timestamp, Timestamp) {
        const EARLIER: SignedDuration = SignedDuration::from_secs(5);
        const LATER: SignedDuration = SignedDuration::from_mins(2);
        /// Margin for a clock whose skew is unknown.
        const UNKNOWN_SKEW: SignedDuration = SignedDuration::from_mins(1);
        let (skew, margin) = match self.clock_skew_ms {
            Some(skew) => (SignedDuration::from_millis(skew), SignedDuration::ZERO),
            None => (SignedDuration::ZERO, UNKNOWN_SKEW),
        };
        let moved = |time: Timestamp, by: SignedDuration| {
            time.checked_add(skew)
                .and_then(|time| time.checked_add(by))
                .unwrap_or(time)
        };
        (
            moved(self.since, -(EARLIER + margin)),
            moved(self.until, LATER + margin),
        )
    }

    /// Returns true if a report of this submission settles the doubt.
    #[must_use]
    pub fn is_of(&self, submission_id: &SubmissionId) -> bool {
        self.submission_id
            .as_ref()
            .is_none_or(|ours| ours == submission_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubt(clock_skew_ms: Option<i64>) -> Doubt {
        Doubt {
            submission_id: Some("abc".parse().unwrap()),
            since: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            clock_skew_ms,
            cause: DoubtCause::Unanswered,
            search_seconds: 900,
            if_not_found: IfNotFound::Fail,
        }
    }

    #[test]
    fn the_search_window_is_in_the_providers_time() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        assert_eq!(doubt(Some(0)).window(), (at(-5), at(120)));
        assert_eq!(doubt(Some(3_600_000)).window(), (at(3595), at(3720)));
        assert_eq!(doubt(None).window(), (at(-65), at(180)));
    }

    #[test]
    fn search_delays_end_at_the_time_limit() {
        let delays = |cause, search_seconds| {
            let doubt = Doubt {
                cause,
                search_seconds,
                ..doubt(None)
            };
            let seconds = doubt
                .search_delays()
                .into_iter()
                .map(|delay| delay.as_secs());
            seconds.collect::<Vec<_>>()
        };
        assert_eq!(delays(DoubtCause::Unanswered, 900), [5, 15, 60, 300, 900]);
        assert_eq!(delays(DoubtCause::Interrupted, 20), [5, 15, 20]);
        assert_eq!(delays(DoubtCause::ProviderFailed, 900), [5, 15, 60]);
        assert_eq!(delays(DoubtCause::RecordLost, 1), [0, 15, 45]);
    }

    #[test]
    fn a_doubt_matches_its_submission_id() {
        assert!(doubt(None).is_of(&"abc".parse().unwrap()));
        assert!(!doubt(None).is_of(&"abd".parse().unwrap()));
        let lost = Doubt {
            submission_id: None,
            ..doubt(None)
        };
        assert!(lost.is_of(&"abd".parse().unwrap()));
        assert!("A/b".parse::<SubmissionId>().is_err());
    }
}
