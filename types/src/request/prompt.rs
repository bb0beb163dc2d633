//! Prompts.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Invalid, schema::text};

/// Text prompt: 1 to 10,000 characters, not only white space.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prompt(String);

impl Prompt {
    const MAX_CHARACTERS: usize = 10_000;

    /// Prompt as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Excerpt of the prompt on one line, for summaries: at most `limit` characters.
    #[must_use]
    pub fn excerpt(&self, limit: usize) -> String {
        let line = self.0.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.chars().count() <= limit {
            return line;
        }
        let mut excerpt: String = line.chars().take(limit.saturating_sub(1)).collect();
        excerpt.push('…');
        excerpt
    }
}

text!(Prompt, min_length = 1, max_length = Self::MAX_CHARACTERS);

impl FromStr for Prompt {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for Prompt {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let characters = text.chars().count();
        if text.trim().is_empty() || characters > Self::MAX_CHARACTERS {
            return Err(Invalid(format!(
                "must have 1 to {} characters and not only white space, not {characters}",
                Self::MAX_CHARACTERS
            )));
        }
        Ok(Self(text))
    }
}

impl From<Prompt> for String {
    fn from(prompt: Prompt) -> Self {
        prompt.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompt_limits_count_characters_not_bytes() {
        assert!(Prompt::try_from("ü".repeat(10_000)).is_ok());
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        let prompt = Prompt::try_from("a red\n fox in the snow".to_owned()).unwrap();
        assert_eq!(prompt.excerpt(40), "a red fox in the snow");
        assert_eq!(prompt.excerpt(6), "a red…");
    }
}
