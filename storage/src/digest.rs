//! Digests of an output's bytes as they pass: a SHA-256 to identify it, a CRC-32 for the store to
//! verify, and the length. Each piece is small, so that hashing never blocks an async thread for
//! long. The state between two pieces can be saved, so that a later attempt resumes from this
//! checkpoint.

use base64::{Engine, prelude::BASE64_STANDARD};
use crc_fast::CrcAlgorithm;
use darkroom_types::sha256::Sha256;
use sha2::{
    Digest as _,
    digest::common::hazmat::{SerializableState, SerializedState},
};

/// Running SHA-256 and length.
#[derive(Clone, Default)]
pub struct Digest {
    sha256: sha2::Sha256,
    size: u64,
}

impl Digest {
    /// Creates the digest of no bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = Self::new();
        digest.update(bytes);
        digest
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// Returns the number of bytes so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the SHA-256 of the bytes so far.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        <[u8; 32]>::from(self.sha256.clone().finalize()).into()
    }

    /// Returns the state, to resume from later.
    #[must_use]
    pub fn save(&self) -> String {
        BASE64_STANDARD.encode(self.sha256.serialize())
    }

    /// Resumes from a state that was saved after `size` bytes; `None` if the state is malformed.
    #[must_use]
    pub fn restore(saved: &str, size: u64) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(saved).ok()?;
        let state = SerializedState::<sha2::Sha256>::try_from(bytes.as_slice()).ok()?;
        Some(Self {
            sha256: sha2::Sha256::deserialize(&state).ok()?,
            size,
        })
    }
}

/// Running CRC-32, in the form that S3 uses.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>
pub struct Crc32(crc_fast::Digest);

impl Default for Crc32 {
    fn default() -> Self {
        Self::new()
    }
}

impl Crc32 {
    /// Creates the checksum of no bytes.
    #[must_use]
    pub fn new() -> Self {
        Self(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc))
    }

    /// Returns the checksum of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> String {
        let mut crc = Self::new();
        crc.update(bytes);
        crc.finish()
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns its four bytes in base64.
    #[must_use]
    pub fn finish(&self) -> String {
        // A CRC-32 fills the lower half of the eight bytes.
        let [_, _, _, _, crc @ ..] = self.0.finalize().to_be_bytes();
        BASE64_STANDARD.encode(crc)
    }
}

/// Returns the composite checksum of a multipart upload: the CRC-32 of the parts' CRC-32s, and the
/// number of parts; `None` if one of them is malformed.
pub fn composite<'a>(parts: impl ExactSizeIterator<Item = &'a str>) -> Option<String> {
    let count = parts.len();
    let mut crc = Crc32::new();
    for part in parts {
        crc.update(&BASE64_STANDARD.decode(part).ok()?);
    }
    Some(format!("{}-{count}", crc.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_match_known_values() {
        let mut digest = Digest::new();
        digest.update(b"abc");
        assert_eq!(
            digest.sha256().to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        // The check value of CRC-32/ISO-HDLC: cbf43926.
        assert_eq!(Crc32::of(b"123456789"), "y/Q5Jg==");
    }

    #[test]
    fn a_saved_state_resumes() {
        let mut whole = Digest::new();
        whole.update(&[7; 1000]);
        let mut first = Digest::new();
        first.update(&[7; 333]);
        let mut second = Digest::restore(&first.save(), 333).unwrap();
        second.update(&[7; 667]);
        assert_eq!((second.sha256(), second.size()), (whole.sha256(), 1000));
        assert!(Digest::restore("bm9uc2Vuc2U=", 333).is_none());
    }
}
