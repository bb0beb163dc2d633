//! Retries of a job. The retry that began a run is part of the job's state, so that a repeated
//! request leads to the same run.

use serde::{Deserialize, Serialize};

/// Number of retries of a job that are remembered: the latest ones.
const MAX_REMEMBERED: usize = 16;

/// A retry, with an id by which a repeated request finds it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Retry {
    /// Id: derived from the idempotency key, or the submission id of a late report; otherwise
    /// unique.
    pub id: String,
    /// True if the outputs are made, and paid for, again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub regenerate: bool,
}

/// Retries of a job, the latest last.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Retries(Vec<Retry>);

impl Retries {
    /// Returns true if there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the retry that began the latest run; `None` if that is the first run.
    #[must_use]
    pub fn latest(&self) -> Option<&Retry> {
        self.0.last()
    }

    /// Returns true if one of them made the outputs again, so that the store may have objects of an
    /// earlier generation.
    #[must_use]
    pub fn have_regenerated(&self) -> bool {
        self.0.iter().any(|retry| retry.regenerate)
    }

    /// Returns the retry with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Retry> {
        self.0.iter().find(|retry| retry.id == id)
    }

    /// Adds a retry, and drops the oldest one beyond the limit, preferably one that did not make
    /// the outputs again.
    pub fn push(&mut self, retry: Retry) {
        if self.0.len() == MAX_REMEMBERED {
            let oldest = self.0.iter().position(|retry| !retry.regenerate);
            self.0.remove(oldest.unwrap_or(0));
        }
        self.0.push(retry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_retries_are_kept() {
        let mut retries = Retries::default();
        for number in 0..20 {
            let id = number.to_string();
            retries.push(Retry {
                id,
                regenerate: number == 1,
            });
        }
        assert!(retries.find("4").is_none() && retries.find("5").is_some());
        assert_eq!(retries.latest().unwrap().id, "19");
        assert!(retries.have_regenerated());
    }
}
