//! The values that a template works with.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use builder_core::render::Field;

use super::float;

/// A value. Copies are cheap.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Nothing: `nil`, or a field that does not exist.
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(Rc<str>),
    Map(Rc<BTreeMap<String, Self>>),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

/// The value of `.` at the start.
pub(super) fn dot(fields: &BTreeMap<String, Field>) -> Value {
    if fields.is_empty() {
        return Value::Nil;
    }
    let fields = fields.iter().map(|(name, field)| {
        let value = match field {
            Field::Text(text) => Value::from(text.as_str()),
            Field::Map(map) => {
                Value::Map(Rc::new(map.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect()))
            }
        };
        (name.clone(), value)
    });
    Value::Map(Rc::new(fields.collect()))
}

impl Value {
    /// Whether `if` takes it for true.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(yes) => *yes,
            Self::Int(n) => *n != 0,
            Self::Float(f) => *f != 0.0,
            Self::String(text) => !text.is_empty(),
            Self::Map(map) => !map.is_empty(),
        }
    }

    /// The name of its type, as Go has it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::String(_) => "string",
            Self::Map(_) => "map[string]string",
        }
    }

    /// How much work it is to look at all of it.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::String(text) => text.len(),
            Self::Map(map) => map.iter().map(|(key, value)| key.len() + value.weight() + 1).sum(),
            _ => 1,
        }
    }
}

/// As Go's `print` shows it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("<nil>"),
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Int(n) => write!(f, "{n}"),
            Self::Float(float) => f.write_str(&float::general(*float, None, false)),
            Self::String(text) => f.write_str(text),
            Self::Map(map) => {
                f.write_str("map[")?;
                for (n, (key, value)) in map.iter().enumerate() {
                    write!(f, "{}{key}:{value}", if n == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
        }
    }
}
