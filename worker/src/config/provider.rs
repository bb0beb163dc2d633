//! Configuration of the provider, its rate limits, and the policy of submissions.

use std::{num::NonZeroU32, ops::RangeInclusive, time::Duration};

use anyhow::{Result, ensure};
use darkroom_activities::generate::GenerationPolicy;
use darkroom_config::{shared::DARKROOM_PUBLIC_URL, variable::Without};
use secrecy::SecretString;
use url::Url;

use crate::variables::{
    DARKROOM_LOST_TIME, LONGEST_GENERATION_SECONDS, REPLICATE_API_TOKEN, REPLICATE_BASE_URL,
    REPLICATE_CREATES_PER_MINUTE, REPLICATE_READS_PER_MINUTE, SUBMISSION_SEARCH_SECONDS,
    SUBMISSION_UNKNOWN,
};

// `unwrap` of a constant is checked by the compiler.
/// Replicate's rate limits of an account, per minute: creates, and all other calls.
/// <https://replicate.com/docs/topics/predictions/rate-limits>
const REPLICATE_CREATES: NonZeroU32 = NonZeroU32::new(600).unwrap();
const REPLICATE_READS: NonZeroU32 = NonZeroU32::new(3000).unwrap();

/// Replicate, or a provider that speaks its API.
pub struct ProviderConfig {
    /// Base URL of the provider's API, `/v1` included.
    pub base_url: Url,
    /// API token.
    pub token: SecretString,
    /// Public URL of the Darkroom api, which the provider sends its reports to.
    pub public_url: Option<Url>,
    /// Policy of submissions and their deadlines.
    pub policy: GenerationPolicy,
    /// Rate limit of creates per minute, for all workers together. Unlimited if absent.
    pub creates_per_minute: Option<NonZeroU32>,
    /// Rate limit of all other calls per minute, for all workers together. Unlimited if absent.
    pub reads_per_minute: Option<NonZeroU32>,
}

impl ProviderConfig {
    pub(super) fn from_env() -> Result<Self> {
        let base_url: Url = REPLICATE_BASE_URL.value()?;
        let public_url: Option<Url> = DARKROOM_PUBLIC_URL.optional()?;
        let is_plain = public_url
            .as_ref()
            .is_some_and(|url| url.scheme() != "https");
        ensure!(
            base_url.scheme() != "https" || !is_plain,
            DARKROOM_PUBLIC_URL.invalid(
                "must be https: the provider reports over https only and would reject each job"
            )
        );
        let is_ours = public_url.as_ref().is_some_and(|url| {
            url.origin() == base_url.origin() && base_url.path().starts_with(url.path())
        });
        ensure!(
            !is_ours,
            REPLICATE_BASE_URL
                .invalid("is Darkroom's own api (DARKROOM_PUBLIC_URL); set the provider's")
        );
        let is_replicate = matches!(REPLICATE_BASE_URL.without, Without::Value(usual) if usual == base_url.as_str());
        Ok(Self {
            creates_per_minute: REPLICATE_CREATES_PER_MINUTE
                .optional()?
                .or(is_replicate.then_some(REPLICATE_CREATES)),
            reads_per_minute: REPLICATE_READS_PER_MINUTE
                .optional()?
                .or(is_replicate.then_some(REPLICATE_READS)),
            base_url,
            token: REPLICATE_API_TOKEN.secret()?,
            public_url,
            policy: GenerationPolicy {
                submission_unknown: SUBMISSION_UNKNOWN.value()?,
                lost_time: DARKROOM_LOST_TIME.optional()?,
                submission_search_seconds: SUBMISSION_SEARCH_SECONDS.value()?,
                longest_generation: longest_generation()?,
            },
        })
    }
}

fn longest_generation() -> Result<Duration> {
    /// Range in seconds: `Cancel-After` of Replicate takes 5 or more, and the workflow waits for
    /// one day at most.
    const ALLOWED: RangeInclusive<u64> = 5..=24 * 60 * 60;
    let seconds = LONGEST_GENERATION_SECONDS.value()?;
    ensure!(
        ALLOWED.contains(&seconds),
        LONGEST_GENERATION_SECONDS.invalid("must be 5 to 86400")
    );
    Ok(Duration::from_secs(seconds))
}
