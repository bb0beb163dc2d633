//! Configuration of moving outputs.

use std::num::NonZeroUsize;

use anyhow::{Result, ensure};
use bytesize::ByteSize;
use darkroom_activities::{
    guard::{AllowedHosts, Ports},
    persist::Memory,
};

use crate::variables::{
    MAX_OUTPUT_BYTES, PERSIST_CONCURRENCY, PERSIST_MEMORY, PERSIST_STREAM_MAX, SOURCE_ALLOW,
    SOURCE_PORTS,
};

// `unwrap` of a constant is checked by the compiler.
const DEFAULT_PERSIST_CONCURRENCY: NonZeroUsize = NonZeroUsize::new(32).unwrap();

/// Limits of moving outputs, and the sources that they may be fetched from.
pub struct PersistConfig {
    /// Memory budget of all outputs together, in bytes.
    pub memory: usize,
    /// Outputs that move at a time. Slow ones, which yield their slot, are not counted.
    pub concurrency: NonZeroUsize,
    /// Largest object that is sent in one PUT request. Larger ones use a multipart upload.
    pub stream_max: ByteSize,
    /// Largest output that is accepted.
    pub max_output: ByteSize,
    /// Ports that outputs may be fetched from.
    pub ports: Ports,
    /// Hosts that outputs may be fetched from although their addresses are private.
    pub allowed_hosts: AllowedHosts,
}

impl PersistConfig {
    pub(super) fn from_env() -> Result<Self> {
        /// Smallest budget: half of it holds two buffers, so that one can fill while the other is
        /// being sent.
        const LEAST_MEMORY: ByteSize = ByteSize::mib(32);
        /// Largest object that S3 accepts in one PUT request.
        const MOST_STREAMED: ByteSize = ByteSize::gib(5);
        let memory: ByteSize = PERSIST_MEMORY.value()?;
        ensure!(
            memory >= LEAST_MEMORY,
            PERSIST_MEMORY.invalid(format!("must be {LEAST_MEMORY} at least"))
        );
        let stream_max = PERSIST_STREAM_MAX.value()?;
        ensure!(
            stream_max <= MOST_STREAMED,
            PERSIST_STREAM_MAX.invalid(format!("must be {MOST_STREAMED} at most"))
        );
        let memory = usize::try_from(memory.as_u64()).unwrap_or(usize::MAX);
        let most = Memory::most_at_a_time(memory);
        let concurrency = match PERSIST_CONCURRENCY.optional()? {
            Some(concurrency) => concurrency,
            None => DEFAULT_PERSIST_CONCURRENCY
                .min(NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN)),
        };
        ensure!(
            concurrency.get() <= most,
            PERSIST_CONCURRENCY.invalid(format!(
                "must be {most} at most, one for each 4 MiB of PERSIST_MEMORY"
            ))
        );
        Ok(Self {
            memory,
            concurrency,
            stream_max,
            max_output: MAX_OUTPUT_BYTES.value()?,
            ports: SOURCE_PORTS.value()?,
            allowed_hosts: SOURCE_ALLOW.or(AllowedHosts::default())?,
        })
    }
}
