//! JSON as .NET configuration reads it: comments, trailing commas, scalars as text, keys without case. Knows no key by name.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::ImportError;

/// A value. Numbers and booleans are text, as for .NET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    Null,
    Scalar(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

/// Reads a whole file.
pub(super) fn parse(text: &str) -> Result<Tree, ImportError> {
    serde_json::from_slice(&plain(text)).map_err(|e| ImportError::Json(e.to_string()))
}

/// The same without comments and trailing commas; every other character keeps its line and column.
fn plain(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    // where the last comma is that nothing followed yet
    let mut comma = None;
    let mut bytes = text.strip_prefix('\u{feff}').unwrap_or(text).bytes().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'"', _) => {
                comma = None;
                out.push(byte);
                quoted(&mut bytes, &mut out);
                continue;
            }
            (b'/', Some(b'/')) => {
                line(&mut bytes, &mut out);
                continue;
            }
            (b'/', Some(b'*')) => {
                block(&mut bytes, &mut out);
                continue;
            }
            (b',', _) => comma = Some(out.len()),
            (b'}' | b']', _) => {
                if let Some(at) = comma.take().and_then(|at| out.get_mut(at)) {
                    *at = b' ';
                }
            }
            (b' ' | b'\t' | b'\r' | b'\n', _) => {}
            _ => comma = None,
        }
        out.push(byte);
    }
    out
}

fn quoted(bytes: &mut impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    let mut escaped = false;
    for byte in bytes {
        out.push(byte);
        match byte {
            b'"' if !escaped => return,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
}

fn line(bytes: &mut impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    out.push(b' ');
    for byte in bytes {
        out.push(if byte == b'\n' { byte } else { b' ' });
        if byte == b'\n' {
            return;
        }
    }
}

fn block(bytes: &mut impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    // the star that opens it does not close it
    out.extend([b' '; 2]);
    bytes.next();
    let mut star = false;
    for byte in bytes {
        out.push(if byte == b'\n' { byte } else { b' ' });
        if star && byte == b'/' {
            return;
        }
        star = byte == b'*';
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut fields: Vec<(String, Tree)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Tree>()? {
            if fields.iter().any(|(other, _)| same(other, &key)) {
                return Err(A::Error::custom(format!("the key {key} is there twice; keys have no case")));
            }
            fields.push((key, value));
        }
        Ok(Tree::Map(fields))
    }
}

/// Whether two names are one: .NET compares keys and ids without case.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.chars().flat_map(char::to_lowercase).eq(other.chars().flat_map(char::to_lowercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(tree: &Tree) -> String {
        match tree {
            Tree::Null => "null".into(),
            Tree::Scalar(text) => text.clone(),
            Tree::List(items) => format!("[{}]", items.iter().map(text_of).collect::<Vec<_>>().join(" ")),
            Tree::Map(fields) => format!("{{{}}}", fields.iter().map(|(k, v)| format!("{k}:{}", text(v))).collect::<Vec<_>>().join(" ")),
        }
    }

    fn text_of(tree: &Tree) -> String {
        text(tree)
    }

    #[test]
    fn comments_and_trailing_commas_are_nothing() {
        for (json, expected) in [
            ("{}", "{}"),
            ("\u{feff}{\"a\": 1, // one\n \"b\": [true, null, 1.5, -2,], /* , } */}", "{a:1 b:[true null 1.5 -2]}"),
            (r#"{"u": "http://a/*b*/,]", "e": "\\", "q": "\",}",}"#, r#"{u:http://a/*b*/,] e:\ q:",}}"#),
            ("[1, /*/ still */ 2, // end\n]", "[1 2]"),
            ("// nothing but this\r\n[]", "[]"),
        ] {
            assert_eq!(parse(json).map(|tree| text(&tree)).as_deref(), Ok(expected), "{json}");
        }
    }

    #[test]
    fn what_is_not_json_is_shown_with_its_place() {
        for (json, says) in [
            ("{\n // c\n \"a\": x}", "not JSON: expected value at line 3 column 7"),
            ("{\"a\": 1, \"A\": 2}", "not JSON: the key A is there twice; keys have no case at line 1 column 16"),
            ("", "not JSON: EOF while parsing a value at line 1 column 0"),
            ("{\"a\": /* open", "not JSON: EOF while parsing a value at line 1 column 13"),
        ] {
            assert_eq!(parse(json).map_err(|e| e.to_string()), Err(says.to_owned()), "{json}");
        }
    }
}
