//! Idempotency keys, as callers send them in the header `Idempotency-Key`.

use std::{fmt, str::FromStr};

use crate::schema::text;

/// Idempotency key: 1 to 255 visible ASCII characters. Quotes around it are part of the key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdempotencyKey(String);

/// Validation error: the text is not an idempotency key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be 1 to 255 visible ASCII characters")]
pub struct InvalidIdempotencyKey;

impl IdempotencyKey {
    const MAX: usize = 255;
}

text!(IdempotencyKey, min_length = 1, max_length = Self::MAX);

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;

    fn from_str(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        let is_key = (1..=Self::MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_key {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidIdempotencyKey)
        }
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_short_and_printable() {
        assert!(
            "8e03978e-40d5-43e8-bc93-6894a57f9324"
                .parse::<IdempotencyKey>()
                .is_ok()
        );
        assert!("\"8e03978e\"".parse::<IdempotencyKey>().is_ok());
        for text in ["", "a b", "ä", "a\tb", &"k".repeat(256)] {
            assert_eq!(
                text.parse::<IdempotencyKey>(),
                Err(InvalidIdempotencyKey),
                "{text}"
            );
        }
    }
}
