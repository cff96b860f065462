//! The file as it was typed: maps, lists and scalars, each with its line. Knows no key by name.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::error::{Fault, Place};

/// One value of the file. No `Debug`: it may hold secrets.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) body: Body,
    bytes: Option<(usize, usize)>,
}

/// What a value is.
#[derive(Clone)]
pub(super) enum Body {
    /// Nothing, which means: as if the key were not there.
    Null,
    /// A scalar: its text, and what the text stands for.
    Scalar(String, Sense),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file.
    Map(Vec<(Name, Node)>),
}

/// What a scalar stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sense {
    /// Only itself.
    Text,
    /// true or false.
    Bool(bool),
    /// A whole number.
    Whole(u64),
    /// A whole number below zero.
    Below(i64),
    /// Any other number.
    Number(f64),
}

/// A key of a map.
#[derive(Clone)]
pub(super) struct Name {
    pub(super) place: Place,
    pub(super) text: String,
}

impl Node {
    pub(super) fn new(place: Place, body: Body) -> Self {
        Self { place, body, bytes: None }
    }

    /// The scalar that a text is when it is written without quotes.
    pub(super) fn plain(place: Place, text: &str) -> Self {
        Self::new(place, Body::Scalar(text.to_owned(), Sense::of(text)))
    }

    /// Puts the text as typed where the parser gave a number: `0012` stays `0012` for who wants a text.
    fn restore(&mut self, source: &str) {
        match &mut self.body {
            Body::Null => {}
            Body::Scalar(text, sense) => {
                let typed = self.bytes.and_then(|(from, len)| source.get(from..from.checked_add(len)?));
                if let (true, Some(typed)) = (*sense != Sense::Text, typed) {
                    typed.trim().clone_into(text);
                }
            }
            Body::List(items) => items.iter_mut().for_each(|item| item.restore(source)),
            Body::Map(entries) => entries.iter_mut().for_each(|(_, value)| value.restore(source)),
        }
    }
}

impl Sense {
    /// Numbers and booleans as YAML 1.2 writes them; all else is text.
    pub(super) fn of(text: &str) -> Self {
        match text {
            "true" => return Self::Bool(true),
            "false" => return Self::Bool(false),
            _ => {}
        }
        if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') {
            return Self::Text;
        }
        if let Ok(n) = text.parse::<u64>() {
            Self::Whole(n)
        } else if let Ok(n) = text.parse::<i64>() {
            Self::Below(n)
        } else {
            text.parse::<f64>().ok().filter(|n| n.is_finite()).map_or(Self::Text, Self::Number)
        }
    }
}

/// Reads YAML. An empty text is `Null`.
pub(super) fn parse(source: &str) -> Result<Node, Fault> {
    if source.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Node::new(Place::Nowhere, Body::Null));
    }
    let mut root: Node = serde_saphyr::from_str(source).map_err(|error| broken(&error))?;
    root.restore(source);
    Ok(root)
}

fn broken(error: &serde_saphyr::Error) -> Fault {
    let inner = error.without_snippet();
    let place = inner.location().map_or(Place::Nowhere, place);
    let text = if let serde_saphyr::Error::DuplicateMappingKey { key, .. } = inner {
        format!("key `{}` stands here for the second time", key.as_deref().unwrap_or_default())
    } else if matches!(inner, serde_saphyr::Error::MultipleDocuments { .. }) {
        "a second YAML document begins; the file is one".to_owned()
    } else {
        // the parser's words carry a position of their own; the place says it already
        let text = inner.to_string();
        let line = text.lines().next().unwrap_or_default();
        format!("not YAML: {}", line.split_once(" at line ").map_or(line, |(words, _)| words))
    };
    Fault::new(place, text).veiled()
}

fn place(location: Location) -> Place {
    if location.line() == 0 { Place::Nowhere } else { Place::Line(location.line()) }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Body>::deserialize(d)?;
        let span = spanned.defined.span();
        let offset = |n: Option<u64>| n.and_then(|n| usize::try_from(n).ok());
        let bytes = offset(span.byte_offset()).zip(offset(span.byte_len()));
        Ok(Self { place: place(spanned.referenced), body: spanned.value, bytes })
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Body, E> {
        Ok(Body::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Body, E> {
        Ok(Body::Scalar(b.to_string(), Sense::Bool(b)))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Body, E> {
        Ok(Body::Scalar(n.to_string(), Sense::Whole(n)))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Body, E> {
        Ok(Body::Scalar(n.to_string(), Sense::Below(n)))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Body, E> {
        Ok(Body::Scalar(n.to_string(), Sense::Number(n)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Body, E> {
        Ok(Body::Scalar(text.to_owned(), Sense::Text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Body, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Body::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Node>()? {
            entries.push((Name { place: place(key.referenced), text: key.value }, value));
        }
        Ok(Body::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &Node, out: &mut String) {
        use std::fmt::Write;
        let Place::Line(line) = node.place else { panic!("no line") };
        match &node.body {
            Body::Null => write!(out, "null@{line} ").unwrap(),
            Body::Scalar(text, sense) => write!(out, "{text}:{sense:?}@{line} ").unwrap(),
            Body::List(items) => items.iter().for_each(|i| show(i, out)),
            Body::Map(entries) => entries.iter().for_each(|(k, v)| {
                write!(out, "{}@{:?}= ", k.text, k.place).unwrap();
                show(v, out);
            }),
        }
    }

    fn shown(text: &str) -> String {
        let mut out = String::new();
        show(&parse(text).map_err(|f| f.text).unwrap(), &mut out);
        out.trim_end().to_owned()
    }

    #[test]
    fn every_value_and_key_has_its_line() {
        assert_eq!(shown("a: 9100\nb:\n  - \"9100\"\n  - x\n"), "a@Line(1)= 9100:Whole(9100)@1 b@Line(2)= 9100:Text@3 x:Text@4");
    }

    #[test]
    fn a_number_keeps_the_text_that_was_typed() {
        assert_eq!(shown("a: 0012 # x"), "a@Line(1)= 0012:Number(12.0)@1");
        assert_eq!(shown("a: 80.50"), "a@Line(1)= 80.50:Number(80.5)@1");
        assert_eq!(shown("é: ü\na: 1e3"), "é@Line(1)= ü:Text@1 a@Line(2)= 1e3:Number(1000.0)@2");
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_with_its_line() {
        let fault = parse("a: 1\nb: 2\na: 3\n").err().unwrap();
        assert_eq!((fault.place, fault.text.as_str()), (Place::Line(3), "key `a` stands here for the second time"));
    }

    #[test]
    fn a_broken_text_is_refused_with_its_line() {
        let fault = parse("a: 1\nb: [1\nc: 2\n").err().unwrap();
        assert!(matches!(fault.place, Place::Line(2..=4)), "{fault:?}");
        assert!(fault.text.starts_with("not YAML: "), "{fault:?}");
    }

    #[test]
    fn comments_alone_are_an_empty_file() {
        assert!(matches!(parse("# a\n\n  # b\n").map_err(|f| f.text).unwrap().body, Body::Null));
    }

    #[test]
    fn unquoted_words_are_numbers_and_booleans_where_they_look_so() {
        for (text, sense) in [
            ("true", Sense::Bool(true)),
            ("2", Sense::Whole(2)),
            ("-2", Sense::Below(-2)),
            ("0.5", Sense::Number(0.5)),
            ("127.0.0.1", Sense::Text),
            ("inf", Sense::Text),
            ("", Sense::Text),
            ("2000-2005", Sense::Text),
        ] {
            assert_eq!(Sense::of(text), sense, "{text}");
        }
    }
}
