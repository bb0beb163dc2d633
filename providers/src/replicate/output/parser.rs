//! The pass over the JSON of an output: finds its files, and keeps the rest of it if it is small.

use std::fmt;

use darkroom_workflows::job::{MadeOutput, OutputSource};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{
    Wanted,
    found::{Found, Items, MARK},
};

/// Limit of what is kept of an output beside its files, in bytes of its texts and names.
const MAX_REST: usize = 64 * 1024;

/// Limit of a file's name, in characters.
const MAX_NAME: usize = 200;

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Reading(None).deserialize(deserializer)
    }
}

/// Seed that parses an output, and captures the text of one of its items.
pub(super) struct Reading<'a>(pub(super) Option<Wanted<'a>>);

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        let mut parser = Parser {
            items: Items::default(),
            path: Vec::new(),
            budget: MAX_REST,
            is_null: false,
            wanted: self.0,
        };
        let rest = ValueVisitor(&mut parser).deserialize(deserializer)?;
        let fits = parser.budget > 0;
        Ok(parser.items.settle(rest, fits))
    }
}

/// Parser of an output: what it has found so far, and where in the output it is.
struct Parser<'a> {
    items: Items,
    path: Vec<Segment>,
    /// Number of bytes that may still be kept.
    budget: usize,
    /// True if the last value was a null, as opposed to a value that is not kept.
    is_null: bool,
    wanted: Option<Wanted<'a>>,
}

enum Segment {
    Key(String),
    Index(usize),
}

impl Parser<'_> {
    /// Records an item, and returns its mark.
    fn item(&mut self, source: OutputSource, list: Option<usize>) -> Value {
        let name = self.name();
        self.items.add(MadeOutput { name, source }, list)
    }

    /// Path of the current item; `None` if it is no more than a position.
    fn name(&self) -> Option<String> {
        if let [] | [Segment::Index(_)] = self.path.as_slice() {
            return None;
        }
        let mut name = String::new();
        for segment in &self.path {
            match segment {
                Segment::Key(key) if name.is_empty() => name += key,
                Segment::Key(key) => name.extend([".", key]),
                Segment::Index(index) => name.extend(["[", &index.to_string(), "]"]),
            }
        }
        let visible = name.chars().filter(|character| !character.is_control());
        Some(visible.take(MAX_NAME).collect())
    }

    /// Keeps a value of this many bytes, unless the budget is used up.
    fn keep(&mut self, bytes: usize, value: impl Into<Value>) -> Value {
        self.items.has_more = true;
        self.budget = self.budget.saturating_sub(bytes.max(1));
        if self.budget == 0 {
            return Value::Null;
        }
        value.into()
    }
}

/// Seed and visitor of a value within an output, of any type.
struct ValueVisitor<'a, 'b>(&'a mut Parser<'b>);

impl<'de> DeserializeSeed<'de> for ValueVisitor<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueVisitor<'_, '_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(self.0.keep(1, value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(self.0.keep(8, value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(self.0.keep(8, value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(self.0.keep(8, value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        self.0.is_null = true;
        Ok(Value::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        let Self(parser) = self;
        if text.is_empty() {
            return Ok(text.into());
        }
        let Some(source) = OutputSource::of_url(text) else {
            return Ok(parser.keep(text.len(), text));
        };
        if let Some(Wanted(number, found)) = &mut parser.wanted
            && *number == parser.items.count()
        {
            **found = Some(text.to_owned());
        }
        Ok(parser.item(source, None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Self(parser) = self;
        let list = parser.items.lists.len();
        parser.items.lists.push(false);
        let is_output = parser.path.is_empty();
        let (mut values, mut others, mut has_file) = (Vec::new(), false, false);
        for index in 0.. {
            parser.path.push(Segment::Index(index));
            parser.is_null = false;
            let value = items.next_element_seed(ValueVisitor(&mut *parser))?;
            let value = match value {
                Some(Value::Null) if parser.is_null && parser.budget > 0 => {
                    parser.budget -= 1;
                    Some(parser.item(OutputSource::Withheld, Some(list)))
                }
                Some(value) => {
                    let is_file = value.get(MARK).is_some();
                    has_file |= is_file;
                    others |= !is_file;
                    Some(value)
                }
                None => None,
            };
            parser.path.pop();
            match value {
                Some(value) if parser.budget > 0 => values.push(value),
                Some(_) => {}
                None => break,
            }
        }
        parser.is_null = false;
        parser.items.lists[list] = !others && (has_file || (is_output && !values.is_empty()));
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let Self(parser) = self;
        let mut kept = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            parser.budget = parser.budget.saturating_sub(key.len() + 1);
            parser.path.push(Segment::Key(key.clone()));
            let value = fields.next_value_seed(ValueVisitor(&mut *parser))?;
            parser.path.pop();
            if parser.budget > 0 {
                kept.insert(key, value);
            }
        }
        Ok(Value::Object(kept))
    }
}
