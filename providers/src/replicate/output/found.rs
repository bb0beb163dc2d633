//! What was found in an output: its files, and the rest of it. A null in a list of files is a file
//! that was withheld, so positions are known only once the whole output is parsed.

use darkroom_workflows::job::{MadeOutput, OutputSource};
use serde_json::{Value, json};

/// Items that were found in an output, and the rest of it. Files may be anywhere in it: a string, a
/// list, an object, nested. Other strings are text. An output without a single file is a file
/// itself, so that it can be stored.
#[derive(Debug, Default)]
pub(in crate::replicate) struct Found {
    pub(super) items: Vec<Item>,
    /// Flag of each list: true if it has nothing but files and nulls. A list within the output must
    /// have at least one file as well.
    pub(super) lists: Vec<bool>,
    pub(super) rest: Value,
    /// True if there is anything beside unnamed files.
    pub(super) has_more: bool,
    /// True if there is an output at all.
    pub(in crate::replicate) is_some: bool,
}

/// File, or a null in the place of one.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) output: MadeOutput,
    /// List that a null is in: the file was withheld if it is a list of files.
    pub(super) list: Option<usize>,
}

impl Found {
    /// Numbers of the items that are outputs, in order.
    pub(super) fn positions(&self) -> impl Iterator<Item = usize> {
        let is_output = |item: &Item| item.list.is_none_or(|list| self.lists[list]);
        let numbered = self.items.iter().enumerate();
        numbered
            .filter(move |(_, item)| is_output(item))
            .map(|(number, _)| number)
    }

    /// Returns the outputs, and the whole with `{"media": position}` in place of each; null if
    /// there is nothing else in it, or too much.
    pub(in crate::replicate) fn into_outputs(mut self) -> (Vec<MadeOutput>, Value) {
        let positions: Vec<_> = self.positions().collect();
        let rest = if self.has_more {
            placed(std::mem::take(&mut self.rest), &positions)
        } else {
            Value::Null
        };
        let mut numbered = self.items.into_iter().enumerate();
        let outputs = positions.iter().filter_map(|position| {
            let (_, item) = numbered.find(|(number, _)| number == position)?;
            Some(item.output)
        });
        let mut outputs: Vec<_> = outputs.collect();
        if outputs.is_empty() && self.has_more {
            outputs.push(MadeOutput {
                name: None,
                source: OutputSource::Prediction,
            });
        }
        (outputs, rest)
    }
}

/// Key that marks an item in the rest of an output, until its position is known.
pub(super) const MARK: &str = "\0item";

/// Replaces the marks in the rest of an output by positions.
fn placed(rest: Value, positions: &[usize]) -> Value {
    match rest {
        Value::Array(items) => items
            .into_iter()
            .map(|item| placed(item, positions))
            .collect(),
        Value::Object(fields) => {
            if let Some(number) = fields.get(MARK).and_then(Value::as_u64) {
                let number = usize::try_from(number).unwrap_or(usize::MAX);
                return match positions.binary_search(&number) {
                    Ok(position) => json!({"media": position}),
                    Err(_) => Value::Null,
                };
            }
            let placed = fields
                .into_iter()
                .map(|(name, value)| (name, placed(value, positions)));
            Value::Object(placed.collect())
        }
        other => other,
    }
}
