//! Parameters of a query, as lists take them.

use crate::problem::{Kind, Problem};

const MAX_LIMIT: u8 = 100;

/// Reads a parameter, if it is there.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse<T>(
    name: &str,
    text: Option<String>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, Problem> {
    let invalid = |problem| {
        Problem::new(
            Kind::InvalidParameter,
            format!("the parameter {name} {problem}"),
        )
    };
    text.map(|text| parse(&text).map_err(invalid)).transpose()
}

/// How many at a time: 1 to 100.
///
/// # Errors
/// If it is anything else.
pub(super) fn parse_limit(text: &str) -> Result<u8, String> {
    let limit = text
        .parse()
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| format!("must be 1 to {MAX_LIMIT}"))
}
