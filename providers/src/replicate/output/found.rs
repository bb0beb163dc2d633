//! Files of an output, and the rest of it. A null in a list of files is a file that was withheld,
//! so the positions of the files are known only once the whole output is parsed.

use darkroom_workflows::job::{MadeOutput, OutputSource};
use serde_json::{Value, json};

/// Files of an output, and the rest of it. Files may be anywhere in it: a string, a list, an
/// object, nested. Other strings are text. An output without a single file is a file itself, so
/// that it can be stored.
#[derive(Debug, Default)]
pub(in crate::replicate) struct Found {
    /// The files, in order, or the output itself.
    pub(in crate::replicate) outputs: Vec<MadeOutput>,
    /// Number of each file among the items; none for the output itself.
    pub(super) numbers: Vec<usize>,
    /// The output with `{"media": position}` in place of each file; null if there is nothing else
    /// in it, or too much.
    pub(in crate::replicate) rest: Value,
    /// True if there is an output at all.
    pub(in crate::replicate) is_some: bool,
}

/// Items of an output, in the order in which they are parsed.
#[derive(Debug, Default)]
pub(super) struct Items {
    items: Vec<Item>,
    /// Flag of each list: true if it has nothing but files and nulls. A list within the output must
    /// have at least one file as well.
    pub(super) lists: Vec<bool>,
    /// True if there is anything beside unnamed files.
    pub(super) has_more: bool,
}

/// File, or a null in the place of one.
#[derive(Debug)]
struct Item {
    output: MadeOutput,
    /// List that a null is in: the file was withheld if it is a list of files.
    list: Option<usize>,
}

/// Key that marks an item in the rest of an output, until its position is known.
pub(super) const MARK: &str = "\0item";

impl Items {
    /// Number of items so far.
    pub(super) fn count(&self) -> usize {
        self.items.len()
    }

    /// Adds an item, and returns its mark. A null has a list.
    pub(super) fn add(&mut self, output: MadeOutput, list: Option<usize>) -> Value {
        let number = self.items.len();
        self.has_more |= output.name.is_some();
        self.items.push(Item { output, list });
        json!({MARK: number})
    }

    /// Decides which items are outputs, and gives them their positions. `fits` says if the rest is
    /// small enough to be kept.
    pub(super) fn settle(self, rest: Value, fits: bool) -> Found {
        let is_some = self.has_more || !rest.is_null() || !self.items.is_empty();
        let is_output = |item: &Item| item.list.is_none_or(|list| self.lists[list]);
        let (numbers, mut outputs): (Vec<_>, Vec<_>) = (0..)
            .zip(self.items)
            .filter(|(_, item)| is_output(item))
            .map(|(number, item)| (number, item.output))
            .unzip();
        if outputs.is_empty() && self.has_more {
            outputs.push(MadeOutput {
                name: None,
                source: OutputSource::Prediction,
            });
        }
        let rest = if self.has_more && fits {
            placed(rest, &numbers)
        } else {
            Value::Null
        };
        Found {
            outputs,
            numbers,
            rest,
            is_some,
        }
    }
}

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
