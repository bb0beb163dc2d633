//! Rate limits: a token bucket for creates and one for all other calls. A refused call empties its
//! bucket, so that a client without backoff never gets in.

use std::time::Instant;

use serde::{Deserialize, Serialize};

/// Rate limits of an account. An absent limit means unlimited.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Limits {
    /// Creates per minute.
    pub creates_per_minute: Option<u32>,
    /// Burst of creates. Default: the creates of one second.
    pub create_burst: Option<u32>,
    /// Other calls per minute.
    pub reads_per_minute: Option<u32>,
    /// Burst of other calls. Default: the calls of one second.
    pub read_burst: Option<u32>,
}

/// Number of calls since the limits were set.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Calls {
    /// Accepted creates.
    pub creates: u32,
    /// Refused creates.
    pub refused_creates: u32,
    /// Accepted other calls.
    pub reads: u32,
    /// Refused other calls.
    pub refused_reads: u32,
}

/// Token buckets, and the calls counted by them.
#[derive(Default)]
pub(super) struct Buckets {
    creates: Option<Bucket>,
    reads: Option<Bucket>,
    calls: Calls,
}

impl Buckets {
    pub(super) fn new(limits: Limits) -> Self {
        let bucket = |per_minute: Option<u32>, burst: Option<u32>| {
            let per_second = f64::from(per_minute?) / 60.0;
            let burst = burst.map_or(per_second, f64::from).max(1.0);
            Some(Bucket::new(per_second, burst))
        };
        Self {
            creates: bucket(limits.creates_per_minute, limits.create_burst),
            reads: bucket(limits.reads_per_minute, limits.read_burst),
            calls: Calls::default(),
        }
    }

    pub(super) fn calls(&self) -> Calls {
        self.calls
    }

    /// Accepts a call, or returns the seconds after which to retry.
    pub(super) fn take(&mut self, is_create: bool) -> Result<(), u32> {
        let (bucket, taken, refused) = if is_create {
            let Calls {
                creates,
                refused_creates,
                ..
            } = &mut self.calls;
            (&mut self.creates, creates, refused_creates)
        } else {
            let Calls {
                reads,
                refused_reads,
                ..
            } = &mut self.calls;
            (&mut self.reads, reads, refused_reads)
        };
        let result = match bucket {
            Some(bucket) => bucket.take(Instant::now()),
            None => Ok(()),
        };
        *(if result.is_ok() { taken } else { refused }) += 1;
        result
    }
}

struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    fn new(per_second: f64, burst: f64) -> Self {
        Self {
            per_second,
            burst,
            tokens: burst,
            filled_at: Instant::now(),
        }
    }

    fn take(&mut self, now: Instant) -> Result<(), u32> {
        let passed = now.duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        self.filled_at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        self.tokens = 0.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some seconds"
        )]
        Err((1.0 / self.per_second).ceil() as u32)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn hasty_calls_never_get_in() {
        let mut bucket = Bucket::new(0.1, 1.0);
        let began = bucket.filled_at;
        let at = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(bucket.take(at(0)), Ok(()));
        assert_eq!(bucket.take(at(9)), Err(10));
        assert_eq!(bucket.take(at(15)), Err(10), "the one before counts");
        assert_eq!(bucket.take(at(25)), Ok(()));
    }
}
