//! Configuration of the task queues that a process polls.

use std::str::FromStr;

/// Task queues that a process polls: at least one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Queues {
    /// Workflows, webhooks, deletions, manifests that the store could not take at once, and calls
    /// to providers.
    pub generate: bool,
    /// The activity `persist`, which moves outputs.
    pub persist: bool,
}

impl FromStr for Queues {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut queues = Self {
            generate: false,
            persist: false,
        };
        for name in text.split(',') {
            match name.trim() {
                "generate" => queues.generate = true,
                "persist" => queues.persist = true,
                _ => return Err("must be generate, persist or both with a comma between"),
            }
        }
        Ok(queues)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_parse() {
        assert_eq!(
            "generate".parse(),
            Ok(Queues {
                generate: true,
                persist: false
            })
        );
        assert_eq!(
            "persist, generate".parse(),
            Ok(Queues {
                generate: true,
                persist: true
            })
        );
        assert!("".parse::<Queues>().is_err());
        assert!("generate,render".parse::<Queues>().is_err());
    }
}
