//! Reading single fields of an object that passed its schema, with the place of each. Knows no kind of object.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::base::duration;
use crate::base::id::Id;
use crate::base::violation::Violation;
use crate::schema::pointer;

/// The most characters of one message.
const LONGEST_MESSAGE: usize = 512;

/// The violations found so far.
#[derive(Debug, Default)]
pub(super) struct Found(Vec<Violation>);

impl Found {
    /// Adds one; a message that repeats a very long value is cut.
    pub(super) fn add(&mut self, path: impl Into<String>, rule: &str, message: impl Into<String>) {
        let mut message = message.into();
        if let Some((at, _)) = message.char_indices().nth(LONGEST_MESSAGE) {
            message.truncate(at);
            message.push('…');
        }
        self.0.push(Violation::new(path, rule, message));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_vec(self) -> Vec<Violation> {
        self.0
    }
}

/// The shortest duration that a field may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Least {
    /// 0 means something.
    Zero,
    /// 0 means nothing.
    AboveZero,
}

/// An object and where it is.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    at: String,
}

impl<'a> Fields<'a> {
    pub(super) fn new(object: &'a Map<String, Value>, at: impl Into<String>) -> Self {
        Self { object, at: at.into() }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name)
    }

    /// The pointer of a field.
    pub(super) fn at(&self, name: &str) -> String {
        pointer::child(&self.at, name)
    }

    /// The field as people say it: `upstream.retry_timeout`.
    fn said(&self, name: &str) -> String {
        pointer::segments(&self.at(name)).join(".")
    }

    /// A field that is an object.
    pub(super) fn object(&self, name: &str) -> Option<Self> {
        Some(Self::new(self.get(name)?.as_object()?, self.at(name)))
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    /// `status`, where absent is on.
    pub(super) fn enabled(&self) -> bool {
        self.get("status").and_then(integer) != Some(0)
    }

    /// The items of a field that is one value or a list, each with its pointer.
    pub(super) fn each(&self, name: &str) -> Vec<(String, &'a Value)> {
        let at = self.at(name);
        match self.get(name) {
            None => Vec::new(),
            Some(Value::Array(items)) => items.iter().enumerate().map(|(i, item)| (pointer::child(&at, &i.to_string()), item)).collect(),
            Some(one) => vec![(at, one)],
        }
    }

    /// A whole number in the bounds of `T`.
    pub(super) fn number<T: TryFrom<i64>>(&self, name: &str, found: &mut Found) -> Option<T> {
        let value = self.get(name)?;
        let number = integer(value).and_then(|n| T::try_from(n).ok());
        if number.is_none() {
            found.add(self.at(name), "type", format!("invalid {}: out of range: {value}", self.said(name)));
        }
        number
    }

    pub(super) fn id(&self, name: &str, found: &mut Found) -> Option<Id> {
        let id = id_text(self.get(name)?).and_then(|text| Id::parse(&text).ok());
        if id.is_none() {
            found.add(self.at(name), "id", format!("invalid {}", self.said(name)));
        }
        id
    }

    pub(super) fn duration(&self, name: &str, least: Least, found: &mut Found) -> Option<Duration> {
        let read = match self.get(name)? {
            Value::Number(n) => n.as_f64().ok_or(duration::BadDuration).and_then(duration::from_secs),
            Value::String(text) => duration::parse(text),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(duration::BadDuration),
        };
        match read {
            Ok(time) if time.is_zero() && least == Least::AboveZero => {
                found.add(self.at(name), "duration", format!("invalid {}: must be longer than 0", self.said(name)));
                None
            }
            Ok(time) => Some(time),
            Err(e) => {
                found.add(self.at(name), "duration", format!("invalid {}: {e}", self.said(name)));
                None
            }
        }
    }
}

/// A whole number, also one that is written `80.0`: JSON Schema calls that an integer.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value.as_f64() {
        Some(f) if value.is_f64() && f.fract() == 0.0 => format!("{f:.0}").parse().ok(),
        _ => value.as_i64(),
    }
}

/// An id as text, from text or a whole number.
pub fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => match n.as_f64() {
            Some(f) if n.is_f64() => (f.fract() == 0.0).then(|| format!("{f:.0}")),
            _ => Some(n.to_string()),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_may_have_a_point() {
        assert_eq!(integer(&json!(80)), Some(80));
        assert_eq!(integer(&json!(80.0)), Some(80));
        assert_eq!(integer(&json!(80.5)), None);
        assert_eq!(integer(&json!(1e300)), None);
        assert_eq!(integer(&json!("80")), None);
        assert_eq!(id_text(&json!(u64::MAX)).as_deref(), Some("18446744073709551615"));
        assert_eq!(id_text(&json!(3.0)).as_deref(), Some("3"));
        assert_eq!(id_text(&json!(1e20)).as_deref(), Some("100000000000000000000"));
        assert_eq!(id_text(&json!(3.5)), None);
    }

    #[test]
    fn a_message_does_not_repeat_a_megabyte() {
        let mut found = Found::default();
        found.add("", "address", "ü".repeat(1_000_000));
        assert_eq!(found.into_vec()[0].message.chars().count(), LONGEST_MESSAGE + 1);
    }

    #[test]
    fn a_duration_is_read_in_every_form_and_a_wrong_one_is_named() {
        let value = json!({"a": 1.5, "b": "1500ms", "c": "soon", "d": "0s", "e": 1e10});
        let fields = Fields::new(value.as_object().unwrap(), "/upstream");
        let mut found = Found::default();
        assert_eq!(fields.duration("a", Least::AboveZero, &mut found), Some(Duration::from_millis(1500)));
        assert_eq!(fields.duration("b", Least::AboveZero, &mut found), Some(Duration::from_millis(1500)));
        assert_eq!(fields.duration("d", Least::Zero, &mut found), Some(Duration::ZERO));
        assert_eq!(fields.duration("x", Least::Zero, &mut found), None);
        assert!(found.is_empty());
        assert_eq!(fields.duration("c", Least::Zero, &mut found), None);
        assert_eq!(fields.duration("d", Least::AboveZero, &mut found), None);
        assert_eq!(fields.duration("e", Least::Zero, &mut found), None);
        let all = found.into_vec();
        assert_eq!(all[0].path, "/upstream/c");
        assert!(all[0].message.starts_with("invalid upstream.c: not a duration"));
        assert_eq!(all[1].message, "invalid upstream.d: must be longer than 0");
        assert_eq!(all[2].rule, "duration");
    }
}
