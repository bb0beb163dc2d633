//! Reading one environment variable. An error names the variable, says what is wrong with its value and shows one that
//! would do. An empty variable counts as absent.

use std::{env, fmt::Display, str::FromStr};

/// An environment variable and an example of its value.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// A value that would do.
    pub example: &'static str,
}

/// A variable is absent or its value is not acceptable.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{name}: {problem}; set it like {name}={example}")]
pub struct InvalidVariable {
    name: &'static str,
    problem: String,
    example: &'static str,
}

impl Variable {
    /// A variable of this name.
    #[must_use]
    pub const fn new(name: &'static str, example: &'static str) -> Self {
        Self { name, example }
    }

    /// Its value, if present.
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

    /// Its value, if present, which is kept out of any message.
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

    /// Its value, or this one.
    ///
    /// # Errors
    /// If the value does not parse.
    pub fn or<T>(self, default: T) -> Result<T, InvalidVariable>
    where
        T: FromStr,
        T::Err: Display,
    {
        Ok(self.optional()?.unwrap_or(default))
    }

    /// Its value, which must be there and is kept out of any message.
    ///
    /// # Errors
    /// If it is absent or not UTF-8.
    pub fn secret(self) -> Result<String, InvalidVariable> {
        match env::var(self.name) {
            Ok(value) if !value.is_empty() => Ok(value),
            Ok(_) | Err(env::VarError::NotPresent) => Err(self.invalid("is missing")),
            Err(env::VarError::NotUnicode(_)) => Err(self.invalid("is not UTF-8")),
        }
    }

    /// An error about its value, for rules that a type cannot check.
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

    // The tests read variables that cargo sets: setting one in a running process is unsafe.
    const VERSION: Variable = Variable::new("CARGO_PKG_VERSION", "7");
    const ABSENT: Variable = Variable::new("DARKROOM_TEST_ABSENT", "7");

    #[test]
    fn absent_means_the_default() {
        assert_eq!(ABSENT.optional::<u16>(), Ok(None));
        assert_eq!(ABSENT.or(3_u16), Ok(3));
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
            "CARGO_PKG_VERSION: cannot use \"0.1.0\": invalid digit found in string; set it like CARGO_PKG_VERSION=7"
        );
    }
}
