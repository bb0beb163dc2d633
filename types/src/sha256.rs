//! SHA-256 digests. They are computed elsewhere.

use std::str::FromStr;

use derive_more::Display;
use serde::{Deserialize, Serialize};

use crate::schema::text;

/// SHA-256 digest: 64 hexadecimal digits in lower case as text.
#[derive(
    Clone, Copy, Debug, Deserialize, Display, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[display("{}", hex::encode(_0))]
#[serde(into = "String", try_from = "String")]
pub struct Sha256([u8; 32]);

/// Validation error: the text is not a SHA-256 digest.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be 64 hexadecimal digits")]
pub struct InvalidSha256;

impl Sha256 {
    /// Returns the bytes of the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

text!(Sha256, pattern = "^[0-9a-f]{64}$");

impl FromStr for Sha256 {
    type Err = InvalidSha256;

    fn from_str(text: &str) -> Result<Self, InvalidSha256> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).map_err(|_| InvalidSha256)?;
        Ok(Self(digest))
    }
}

impl From<[u8; 32]> for Sha256 {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl From<Sha256> for String {
    fn from(digest: Sha256) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Sha256 {
    type Error = InvalidSha256;

    fn try_from(text: String) -> Result<Self, InvalidSha256> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_hexadecimal_digits() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let digest: Sha256 = text.parse().unwrap();
        assert_eq!(digest.to_string(), text);
        assert_eq!(serde_json::to_value(digest).unwrap(), text);
        for text in ["", "ba7816bf", &text[1..], &text.replace('b', "g")] {
            assert_eq!(text.parse::<Sha256>(), Err(InvalidSha256), "{text}");
        }
    }
}
