//! Environment variables: description, default and parsing. An error names the variable, states
//! what is wrong with its value, and shows a valid example. An empty variable counts as absent.

use std::{env, fmt::Display, str::FromStr};

use secrecy::SecretString;

/// Environment variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Name of the variable.
    pub name: &'static str,
    /// Example of a valid value.
    pub example: &'static str,
    /// Default if the variable is absent.
    pub without: Without,
    /// Description for a table: Markdown, on one line.
    pub about: &'static str,
}

/// Default of an absent variable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Without {
    /// No default.
    Nothing,
    /// Default value.
    Value(&'static str),
    /// Description of a default that depends on other settings.
    Words(&'static str),
}

/// Error: the variable is absent, or its value is not valid.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{name}: {problem}; set it like {name}={example}")]
pub struct InvalidVariable {
    name: &'static str,
    problem: String,
    example: &'static str,
}

impl Variable {
    /// Declares a variable with this name, without a default.
    #[must_use]
    pub const fn new(name: &'static str, example: &'static str) -> Self {
        Self {
            name,
            example,
            without: Without::Nothing,
            about: "",
        }
    }

    /// Sets the description.
    #[must_use]
    pub const fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// Sets the default value.
    #[must_use]
    pub const fn defaults_to(self, value: &'static str) -> Self {
        Self {
            without: Without::Value(value),
            ..self
        }
    }

    /// Sets the description of a default that depends on other settings.
    #[must_use]
    pub const fn otherwise(self, words: &'static str) -> Self {
        Self {
            without: Without::Words(words),
            ..self
        }
    }

    /// Returns the value, if present.
    ///
    /// # Errors
    /// If the value does not parse.
    pub fn optional<T>(self) -> Result<Option<T>, InvalidVariable>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.parsed(|text, error| format!("cannot use {text:?}: {error}"))
    }

    /// Returns the value, if present. Error messages do not contain it.
    ///
    /// # Errors
    /// If the value does not parse.
    pub fn optional_secret<T>(self) -> Result<Option<T>, InvalidVariable>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.parsed(|_, error| error)
    }

    fn parsed<T>(
        self,
        explain: impl Fn(&str, String) -> String,
    ) -> Result<Option<T>, InvalidVariable>
    where
        T: FromStr,
        T::Err: Display,
    {
        match env::var_os(self.name) {
            None => Ok(None),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => {
                let text = value.to_str().ok_or_else(|| self.invalid("is not UTF-8"))?;
                let parsed = text
                    .parse()
                    .map_err(|error: T::Err| self.invalid(explain(text, error.to_string())))?;
                Ok(Some(parsed))
            }
        }
    }

    /// Returns the value, or the default value.
    ///
    /// # Errors
    /// If the value does not parse, or if the variable is absent and has no default value.
    pub fn value<T>(self) -> Result<T, InvalidVariable>
    where
        T: FromStr,
        T::Err: Display,
    {
        match (self.optional()?, self.without) {
            (Some(value), _) => Ok(value),
            (None, Without::Value(text)) => text
                .parse()
                .map_err(|error: T::Err| self.invalid(error.to_string())),
            (None, Without::Nothing | Without::Words(_)) => Err(self.invalid("is missing")),
        }
    }

    /// Returns the value, or `otherwise`, which the description of the default explains.
    ///
    /// # Errors
    /// If the value does not parse.
    pub fn or<T>(self, otherwise: T) -> Result<T, InvalidVariable>
    where
        T: FromStr,
        T::Err: Display,
    {
        Ok(self.optional()?.unwrap_or(otherwise))
    }

    /// Returns the value of a required variable. Error messages do not contain it.
    ///
    /// # Errors
    /// If the variable is absent or not UTF-8.
    pub fn secret(self) -> Result<SecretString, InvalidVariable> {
        match env::var(self.name) {
            Ok(value) if !value.is_empty() => Ok(value.into()),
            Ok(_) | Err(env::VarError::NotPresent) => Err(self.invalid("is missing")),
            Err(env::VarError::NotUnicode(_)) => Err(self.invalid("is not UTF-8")),
        }
    }

    /// Error about the variable's value, for rules that a type cannot check.
    #[must_use]
    pub fn invalid(self, problem: impl Into<String>) -> InvalidVariable {
        InvalidVariable {
            name: self.name,
            problem: problem.into(),
            example: self.example,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The tests read variables that cargo sets, as setting one in a running process is unsafe.
    const VERSION: Variable = Variable::new("CARGO_PKG_VERSION", "7");
    const ABSENT: Variable = Variable::new("DARKROOM_TEST_ABSENT", "7");

    #[test]
    fn an_absent_variable_has_its_default() {
        assert_eq!(ABSENT.optional::<u16>(), Ok(None));
        assert_eq!(ABSENT.or(3_u16), Ok(3));
        assert_eq!(ABSENT.defaults_to("5").value(), Ok(5_u16));
        assert!(ABSENT.otherwise("five").value::<u16>().is_err());
        assert_eq!(
            ABSENT.secret().unwrap_err().to_string(),
            "DARKROOM_TEST_ABSENT: is missing; set it like DARKROOM_TEST_ABSENT=7"
        );
    }

    #[test]
    fn a_bad_value_names_the_variable_the_problem_and_an_example() {
        let error = VERSION.optional::<u16>().unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "CARGO_PKG_VERSION: cannot use {:?}: invalid digit found in string; set it like CARGO_PKG_VERSION=7",
                env!("CARGO_PKG_VERSION")
            )
        );
    }
}
