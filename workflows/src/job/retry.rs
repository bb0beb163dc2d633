//! A retry of a job: which of them began a run is part of its state, so that one that is asked for again leads to the same run.

use serde::{Deserialize, Serialize};

/// How many retries of a job are remembered: the latest.
const MAX_REMEMBERED: usize = 16;

/// A retry, as whoever asked for it knows it again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Retry {
    /// What follows from its key, or what nothing else has.
    pub id: String,
    /// Whether the outputs are made again, and paid for again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub regenerate: bool,
}

/// The retries of a job, the latest last.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Retries(Vec<Retry>);

impl Retries {
    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one that began the latest run; `None` if that is the first.
    #[must_use]
    pub fn latest(&self) -> Option<&Retry> {
        self.0.last()
    }

    /// The one with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Retry> {
        self.0.iter().find(|retry| retry.id == id)
    }

    /// Adds one.
    pub fn push(&mut self, retry: Retry) {
        if self.0.len() == MAX_REMEMBERED {
            self.0.remove(0);
        }
        self.0.push(retry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered() {
        let mut retries = Retries::default();
        for number in 0..20 {
            let id = number.to_string();
            retries.push(Retry {
                id,
                regenerate: false,
            });
        }
        assert!(retries.find("3").is_none() && retries.find("4").is_some());
        assert_eq!(retries.latest().unwrap().id, "19");
    }
}
