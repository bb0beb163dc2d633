//! Signing and verifying webhooks as specified by
//! [Standard Webhooks](https://www.standardwebhooks.com): those that the provider sends to us, and
//! those that we send to callers. Their library verifies ours in tests and examples; here it would
//! not do, as it cannot check the headers before the body has arrived, nor take the time.

use std::str::FromStr;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::tenant::Tenant;

/// Largest difference between a message's timestamp and our clock.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// Secret that signs messages: `whsec_` and a key in base64. During a rotation there are two of
/// these, the new and the old one, separated by a comma: both sign, and either is accepted. It has
/// no `Debug`, so that it cannot end up in a log.
#[derive(Clone)]
pub struct WebhookSecret {
    new: Key,
    old: Option<Key>,
}

#[derive(Clone)]
struct Key(Vec<u8>);

/// Signature headers of a message.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// `webhook-id`: the same each time the message is sent.
    pub id: &'a str,
    /// `webhook-timestamp`: time of sending, in seconds of Unix time.
    pub timestamp: &'a str,
    /// `webhook-signature`: signatures separated by spaces.
    pub signature: &'a str,
}

impl Signed<'_> {
    /// Returns true if the message is worth reading: all headers are there, and its timestamp is
    /// within the tolerance.
    #[must_use]
    pub fn is_plausible(&self, now: Timestamp) -> bool {
        let sent = self
            .timestamp
            .parse()
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok());
        let is_recent = sent.is_some_and(|sent| now.duration_since(sent).abs() <= TOLERANCE);
        !self.id.is_empty() && !self.signature.is_empty() && is_recent
    }
}

impl WebhookSecret {
    /// Derives the secret of one tenant, or of callers without API keys. A receiver that knows it
    /// can forge no message to another tenant, and cannot compute this secret.
    #[must_use]
    pub fn of(&self, tenant: Option<&Tenant>) -> Self {
        let name = tenant.map(Tenant::as_str).unwrap_or_default().as_bytes();
        let of = |key: &Key| {
            let mac = key.mac(&[b"darkroom webhooks to ", name]);
            Key(mac.finalize().into_bytes().to_vec())
        };
        Self {
            new: of(&self.new),
            old: self.old.as_ref().map(of),
        }
    }

    /// Returns the secret as a receiver configures it: the new one.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("whsec_{}", BASE64_STANDARD.encode(&self.new.0))
    }

    /// Returns the id of the secret, which gives nothing of it away: 8 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        self.new.id()
    }

    /// Returns true if the new or the old secret has this id.
    #[must_use]
    pub fn is_known_by(&self, id: &str) -> bool {
        self.keys().any(|key| key.id() == id)
    }

    /// Returns the signatures of a message, separated by spaces.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let signatures = self.keys().map(|key| {
            let signature = key.message(id, timestamp, body).finalize().into_bytes();
            format!("v1,{}", BASE64_STANDARD.encode(signature))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }

    /// Returns true if the message was signed with this secret around `now`, within the tolerance.
    /// Signatures are compared in constant time.
    #[must_use]
    pub fn verifies(&self, message: Signed<'_>, body: &[u8], now: Timestamp) -> bool {
        let is_of = |key: &Key| {
            let mac = key.message(message.id, message.timestamp, body);
            message.signature.split(' ').any(|signature| {
                let decoded = signature
                    .strip_prefix("v1,")
                    .and_then(|signature| BASE64_STANDARD.decode(signature).ok());
                decoded.is_some_and(|signature| mac.clone().verify_slice(&signature).is_ok())
            })
        };
        message.is_plausible(now) && self.keys().any(is_of)
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        [&self.new].into_iter().chain(&self.old)
    }
}

impl Key {
    fn id(&self) -> String {
        hex::encode(&Sha256::digest(&self.0)[..4])
    }

    fn message(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        self.mac(&[id.as_bytes(), b".", timestamp.as_bytes(), b".", body])
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key");
        for part in parts {
            mac.update(part);
        }
        mac
    }
}

impl FromStr for WebhookSecret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (new, old) = match text.split_once(',') {
            Some((new, old)) => (new, Some(old)),
            None => (text, None),
        };
        Ok(Self {
            new: new.parse()?,
            old: old.map(str::parse).transpose()?,
        })
    }
}

impl FromStr for Key {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = text
            .trim()
            .strip_prefix("whsec_")
            .and_then(|key| BASE64_STANDARD.decode(key).ok());
        key.filter(|key| !key.is_empty()).map(Self).ok_or(
            "must be whsec_ and a key in base64, or the new one and the old one with a comma between",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = b"{\"test\": 2432232314}";
    const GENUINE: Signed<'static> = Signed {
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp: "1614265330",
        signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn only_recent_valid_signatures_verify() {
        let secret: WebhookSecret = SECRET.parse().unwrap();
        let now = at(1_614_265_330);
        let genuine = |message, body, now| secret.verifies(message, body, now);
        assert!(genuine(GENUINE, BODY, now));
        let rotated = format!("v1,AAAA v2,{0} {0}", GENUINE.signature);
        assert!(
            genuine(
                Signed {
                    signature: &rotated,
                    ..GENUINE
                },
                BODY,
                now
            ),
            "any of several signatures will do"
        );
        assert!(genuine(GENUINE, BODY, at(1_614_265_330 + 299)));

        assert!(!genuine(GENUINE, BODY, at(1_614_265_330 + 301)), "too old");
        assert!(
            !genuine(GENUINE, BODY, at(1_614_265_330 - 301)),
            "from the future"
        );
        assert!(
            !genuine(GENUINE, b"{\"test\": 2432232315}", now),
            "another body"
        );
        assert!(
            !genuine(
                Signed {
                    id: "msg_other",
                    ..GENUINE
                },
                BODY,
                now
            ),
            "another id"
        );
        assert!(
            !genuine(
                Signed {
                    timestamp: "1614265331",
                    ..GENUINE
                },
                BODY,
                now
            ),
            "another time"
        );
        assert!(
            !genuine(
                Signed {
                    signature: "",
                    ..GENUINE
                },
                BODY,
                now
            ),
            "no signature"
        );
        assert!(
            !genuine(
                Signed {
                    signature: "v1,",
                    ..GENUINE
                },
                BODY,
                now
            ),
            "an empty signature"
        );
        assert!(
            !genuine(
                Signed {
                    signature: "v1,AAAA",
                    ..GENUINE
                },
                BODY,
                now
            ),
            "a short signature"
        );
    }

    #[test]
    fn signatures_match_the_specification() {
        let secret: WebhookSecret = SECRET.parse().unwrap();
        assert_eq!(
            secret.sign(GENUINE.id, GENUINE.timestamp, BODY),
            GENUINE.signature
        );
        assert_eq!(secret.to_text(), SECRET);
    }

    #[test]
    fn tenants_have_secrets_of_their_own() {
        let secret: WebhookSecret = SECRET.parse().unwrap();
        let of = |name: &str| {
            let tenant: Tenant = name.parse().unwrap();
            secret.of(Some(&tenant)).to_text()
        };
        assert_eq!(of("acme"), of("acme"));
        assert_ne!(of("acme"), of("other"));
        assert_ne!(of("acme"), SECRET);
        assert_ne!(secret.of(None).to_text(), SECRET);
    }

    #[test]
    fn secrets_parse() {
        assert!("whsec_".parse::<WebhookSecret>().is_err());
        assert!(
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
                .parse::<WebhookSecret>()
                .is_err()
        );
        assert!("whsec_***".parse::<WebhookSecret>().is_err());
    }

    #[test]
    fn during_a_rotation_both_secrets_sign_and_verify() {
        const NEW: &str = "whsec_bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3";
        let both: WebhookSecret = format!("{NEW},{SECRET}").parse().unwrap();
        let (new, old): (WebhookSecret, WebhookSecret) =
            (NEW.parse().unwrap(), SECRET.parse().unwrap());
        assert_eq!(both.to_text(), NEW);
        assert_eq!(both.id(), new.id());
        assert!(both.is_known_by(&old.id()) && !new.is_known_by(&old.id()));
        assert!(both.verifies(GENUINE, BODY, at(1_614_265_330)));
        let signature = both.sign(GENUINE.id, GENUINE.timestamp, BODY);
        let signed = Signed {
            signature: &signature,
            ..GENUINE
        };
        let tenant: Tenant = "acme".parse().unwrap();
        for one in [&new, &old] {
            assert!(one.verifies(signed, BODY, at(1_614_265_330)));
            let theirs = both.of(Some(&tenant));
            let signature = theirs.sign(GENUINE.id, GENUINE.timestamp, BODY);
            let signed = Signed {
                signature: &signature,
                ..GENUINE
            };
            let of_tenant = one.of(Some(&tenant));
            assert!(of_tenant.verifies(signed, BODY, at(1_614_265_330)));
        }
        for text in [format!("{NEW},"), format!("{NEW},{SECRET},{SECRET}")] {
            assert!(text.parse::<WebhookSecret>().is_err(), "{text}");
        }
    }
}
