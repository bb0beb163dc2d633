//! `Prefer: wait=n` of [RFC 7240](https://www.rfc-editor.org/rfc/rfc7240), or `wait` alone for the
//! maximum: the time that a caller is willing to wait for a change. Preferences that cannot be
//! parsed are ignored, as the RFC requires.

use std::time::Duration;

use poem::Request;

/// Longest wait of a caller, in seconds.
const MAX: u64 = 60;

/// Time that the caller is willing to wait, in seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Wait(u64);

impl Wait {
    /// Returns the wait that a request prefers.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let headers = request.headers().get_all("prefer").iter();
        headers
            .filter_map(|header| header.to_str().ok())
            .find_map(Self::parse)
    }

    fn parse(header: &str) -> Option<Self> {
        let seconds = header.split([',', ';']).find_map(|preference| {
            let (name, value) = match preference.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (preference, None),
            };
            if !name.trim().eq_ignore_ascii_case("wait") {
                return None;
            }
            match value {
                Some(value) => value.trim().trim_matches('"').parse().ok(),
                // Replicate's clients send it without a value.
                None => Some(MAX),
            }
        })?;
        (seconds > 0).then_some(Self(seconds.min(MAX)))
    }

    pub(crate) fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// Returns the value of `Preference-Applied`.
    pub(crate) fn applied(self) -> String {
        format!("wait={}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_parse() {
        for (header, seconds) in [
            ("wait=5", Some(5)),
            ("respond-async, wait=10", Some(10)),
            ("WAIT = \"7\"", Some(7)),
            ("handling=lenient; wait=3", Some(3)),
            ("wait=3600", Some(60)),
            ("wait=0", None),
            ("wait", Some(60)),
            ("respond-async, Wait", Some(60)),
            ("waiting", None),
            ("wait=soon", None),
            ("wait=-1", None),
            ("", None),
        ] {
            assert_eq!(Wait::parse(header).map(|wait| wait.0), seconds, "{header}");
        }
    }
}
