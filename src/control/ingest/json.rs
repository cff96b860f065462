//! Bytes to a JSON value, with what `serde_json` lets pass refused: a key that is there twice, a value that is too large or too
//! deep. Knows no kind of object.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::base::violation::Violation;
use crate::schema::{MOST_VIOLATIONS, pointer};

/// The largest value that is read, in bytes.
pub const LARGEST: usize = 1024 * 1024;
/// How many arrays and objects may be inside one another.
pub const DEEPEST: usize = 64;

/// Reads one JSON value.
///
/// # Errors
/// What is wrong with the bytes; at least one violation.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Vec<Violation>> {
    parse_within(bytes, LARGEST)
}

/// [`parse`] with a limit of the caller's own, in bytes.
pub(super) fn parse_within(bytes: &[u8], largest: usize) -> Result<Value, Vec<Violation>> {
    let text = readable(bytes, largest).map_err(|v| vec![v])?;
    let notes = RefCell::new(Notes::default());
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Node { notes: &notes, depth: 0 }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    let notes = notes.into_inner();
    if let Some(deep) = notes.too_deep {
        return Err(vec![deep]);
    }
    match value {
        Err(e) => Err(vec![Violation::new("", "json", unreadable(&e))]),
        Ok(_) if !notes.twice.is_empty() => Err(notes.twice),
        Ok(value) => Ok(value),
    }
}

/// What can be said before any parsing.
fn readable(bytes: &[u8], largest: usize) -> Result<&str, Violation> {
    if bytes.len() > largest {
        let text = format!("the value has {} bytes; at most {largest} are read", bytes.len());
        return Err(Violation::new("", "too_large", text));
    }
    let wrong = |message: String| Violation::new("", "json", message);
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        return Err(wrong("not JSON: it starts with a byte order mark; write plain UTF-8".into()));
    }
    if bytes.trim_ascii().is_empty() {
        return Err(wrong("not JSON: the value is empty".into()));
    }
    std::str::from_utf8(bytes).map_err(|e| wrong(format!("not JSON: byte {} is not UTF-8", e.valid_up_to())))
}

/// The parser's own words, which name line and column; those on half a surrogate pair are too dark to stand alone.
fn unreadable(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let hint = if text.contains("hex escape") || text.contains("surrogate") { " (a \\u escape that is no whole character)" } else { "" };
    format!("not JSON: {text}{hint}")
}

/// What was seen on the way through a value.
#[derive(Default)]
struct Notes {
    /// The way to where the reader is.
    path: Vec<String>,
    twice: Vec<Violation>,
    too_deep: Option<Violation>,
}

impl Notes {
    fn at(&self) -> String {
        self.path.iter().fold(String::new(), |at, segment| pointer::child(&at, segment))
    }
}

/// One value to be read. The depth is checked before the value is entered, so the stack is bounded by [`DEEPEST`].
#[derive(Clone, Copy)]
struct Node<'n> {
    notes: &'n RefCell<Notes>,
    depth: usize,
}

impl Node<'_> {
    fn enter<E: Error>(self) -> Result<Self, E> {
        if self.depth < DEEPEST {
            return Ok(Self { depth: self.depth + 1, ..self });
        }
        let mut notes = self.notes.borrow_mut();
        let text = format!("arrays and objects are more than {DEEPEST} deep");
        notes.too_deep = Some(Violation::new(notes.at(), "too_deep", text));
        Err(E::custom("too deep"))
    }

    fn note_twice(self, name: &str) {
        let mut notes = self.notes.borrow_mut();
        if notes.twice.len() < MOST_VIOLATIONS {
            let path = pointer::child(&notes.at(), name);
            notes.twice.push(Violation::new(path, "duplicate_key", "the same key is there twice"));
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.enter()?;
        let mut items = Vec::new();
        loop {
            self.notes.borrow_mut().path.push(items.len().to_string());
            let item = seq.next_element_seed(inner)?;
            self.notes.borrow_mut().path.pop();
            match item {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.enter()?;
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if object.contains_key(&name) {
                self.note_twice(&name);
            }
            self.notes.borrow_mut().path.push(name.clone());
            let value = map.next_value_seed(inner)?;
            self.notes.borrow_mut().path.pop();
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(text: impl AsRef<[u8]>) -> Violation {
        parse(text.as_ref()).unwrap_err().remove(0)
    }

    #[test]
    fn json_comes_through_as_it_is() {
        let text = r#" {"b": [1, -2, 1.5, true, null, "\u00fc\ud83d\ude00"], "a": {"": {}}} "#;
        let value = parse(text.as_bytes()).unwrap();
        assert_eq!(value, json!({"b": [1, -2, 1.5, true, null, "ü😀"], "a": {"": {}}}));
        assert_eq!(value.to_string(), r#"{"b":[1,-2,1.5,true,null,"ü😀"],"a":{"":{}}}"#);
    }

    #[test]
    fn what_is_not_json_says_where() {
        for (text, says) in [
            ("", "not JSON: the value is empty"),
            (" \n", "not JSON: the value is empty"),
            ("{\n  \"a\": 1,,\n}", "not JSON: key must be a string at line 2 column 10"),
            ("{} x", "not JSON: trailing characters at line 1 column 4"),
            ("{\"a\": NaN}", "not JSON: expected value at line 1 column 7"),
            ("{\"a\": 1e999}", "not JSON: number out of range at line 1 column 11"),
            (
                "{\"a\": \"\\ud800\"}",
                "not JSON: unexpected end of hex escape at line 1 column 14 (a \\u escape that is no whole character)",
            ),
            ("\u{feff}{}", "not JSON: it starts with a byte order mark; write plain UTF-8"),
        ] {
            let v = wrong(text);
            assert_eq!((v.rule.as_str(), v.message.as_str()), ("json", says), "{text}");
        }
        assert_eq!(wrong(b"{\"\xff\": 1}").message, "not JSON: byte 2 is not UTF-8");
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_at_any_depth() {
        let v = wrong(r#"{"nodes": [{"host": "a", "x/y": 1, "x/y": 1}], "ok": 1}"#);
        assert_eq!((v.path.as_str(), v.rule.as_str()), ("/nodes/0/x~1y", "duplicate_key"));
        let all = parse(br#"{"a": 1, "a": {"b": 1, "b": 2}}"#).unwrap_err();
        assert_eq!(all.iter().map(|v| v.path.as_str()).collect::<Vec<_>>(), ["/a", "/a/b"]);
        assert_eq!(parse(format!("[{}]", r#"{"a":1,"a":1},"#.repeat(1000) + "0").as_bytes()).unwrap_err().len(), MOST_VIOLATIONS);
    }

    #[test]
    fn the_sixty_fourth_level_is_the_last() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(parse(nested(DEEPEST).as_bytes()).is_ok());
        let v = wrong(nested(DEEPEST + 1));
        assert_eq!((v.rule.as_str(), v.path.len()), ("too_deep", 2 * DEEPEST));
    }

    #[test]
    fn a_megabyte_of_brackets_does_not_exhaust_the_stack() {
        assert_eq!(wrong("[".repeat(LARGEST)).rule, "too_deep");
        assert_eq!(wrong("{\"a\":".repeat(LARGEST / 5)).rule, "too_deep");
    }

    #[test]
    fn the_size_is_looked_at_first() {
        let text = format!("\"{}\"", "x".repeat(LARGEST - 2));
        assert!(parse(text.as_bytes()).is_ok());
        assert_eq!(wrong(text + " ").rule, "too_large");
    }
}
