//! The `Retry-After` header: a number of seconds or a date,
//! <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>.

use std::time::{Duration, SystemTime};

/// Parses the value of a `Retry-After` header into the delay from `now` on; zero for a date that
/// has passed. `None` if it is neither a number of seconds nor a date.
#[must_use]
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_delays() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            let delay = parse_retry_after(value, now);
            assert_eq!(delay, expected.map(Duration::from_secs), "{value}");
        }
    }
}
