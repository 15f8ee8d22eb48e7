//! A cell of a row that is being cleaned. It borrows its text from the reader.

use std::borrow::Cow;

use rowmill_domain::{Kind, Value};
use rowmill_workbook::Cell;

/// A cell of a row that is being cleaned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CleanCell<'a> {
    Empty,
    /// A text, which may be blank until it is trimmed.
    Text(Cow<'a, str>),
    /// A value that is not a text.
    Value(Value),
    /// An error code such as `#N/A`, or the reason a formula has no result.
    Error(&'a str),
}

impl<'a> From<&'a Cell> for CleanCell<'a> {
    fn from(cell: &'a Cell) -> CleanCell<'a> {
        match cell {
            Cell::Empty => CleanCell::Empty,
            Cell::Value(Value::Text(text)) => CleanCell::from(text.as_str()),
            Cell::Value(value) => CleanCell::Value(value.clone()),
            Cell::Error(code) => CleanCell::Error(code),
        }
    }
}

impl<'a> From<&'a str> for CleanCell<'a> {
    fn from(text: &'a str) -> CleanCell<'a> {
        CleanCell::Text(Cow::Borrowed(text))
    }
}

impl From<Value> for CleanCell<'_> {
    fn from(value: Value) -> Self {
        match value {
            Value::Text(text) => CleanCell::Text(Cow::Owned(text)),
            value => CleanCell::Value(value),
        }
    }
}

impl CleanCell<'_> {
    /// The kind of the value. `None` if there is none.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            CleanCell::Empty | CleanCell::Error(_) => None,
            CleanCell::Text(_) => Some(Kind::Text),
            CleanCell::Value(value) => Some(value.kind()),
        }
    }

    /// The value.
    pub(crate) fn value(&self) -> Option<Value> {
        match self {
            CleanCell::Empty | CleanCell::Error(_) => None,
            CleanCell::Text(text) => Some(Value::Text(text.clone().into_owned())),
            CleanCell::Value(value) => Some(value.clone()),
        }
    }
}
