//! From the tree to typed structs: a serde deserializer whose errors know line and path. Here the environment overrides a key.
//! Knows no key by name.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{StrDeserializer, U64Deserializer};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};

use super::env::{self, Env};
use super::error::{Fault, Place};
use super::foreign;
use super::tree::{Body, Name, Node, Sense};
use crate::base::nearest::nearest;

const AT: &str = "sluice at";

/// A value that remembers where it was written.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

/// Reads the tree as a `T`.
pub(super) fn read<'de, T: Deserialize<'de>>(root: &Node, env: Env<'_>) -> Result<T, Fault> {
    Walk { node: root, path: String::new(), env }.feed(PhantomData).map_err(|wrong| match wrong {
        Wrong::Known(fault) => fault,
        Wrong::Words(_) | Wrong::Key(..) => Fault::new(Place::Nowhere, wrong.to_string()),
    })
}

/// An error on its way up: first without a place, then with one.
#[derive(Debug)]
enum Wrong {
    /// Words, still without path and place.
    Words(String),
    /// A key that is not among the known ones.
    Key(String, &'static [&'static str]),
    /// Done.
    Known(Fault),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words(text) => f.write_str(text),
            Self::Key(key, _) => write!(f, "unknown key `{key}`"),
            Self::Known(fault) => f.write_str(&fault.text),
        }
    }
}

impl std::error::Error for Wrong {}

impl Error for Wrong {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        Self::Words(msg.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Words(format!("expected {}, found {}", plainly(&expected.to_string()), kind(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Words(format!("expected {}, found {} that is out of range", plainly(&expected.to_string()), kind(found)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::Key(field.to_owned(), expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::Words(format!("unknown word `{variant}`{}", hint(variant, expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Words(format!("missing key `{field}`"))
    }
}

fn hint(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!(" (did you mean `{near}`?)"),
        None => format!(" (known here: {})", known.join(", ")),
    }
}

/// Rust's words for types as a reader of the file knows them.
fn plainly(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "text",
        "a sequence" => "a list",
        other if other.starts_with("struct ") => "a map",
        other => other,
    }
}

/// What was found, without the value: it may be a secret at the wrong place.
fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(_) => "a number with a fraction",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a map",
        Unexpected::Unit | Unexpected::Option => "nothing",
        Unexpected::Char(_)
        | Unexpected::Str(_)
        | Unexpected::Bytes(_)
        | Unexpected::NewtypeStruct
        | Unexpected::Enum
        | Unexpected::UnitVariant
        | Unexpected::NewtypeVariant
        | Unexpected::TupleVariant
        | Unexpected::StructVariant
        | Unexpected::Other(_) => "text",
    }
}

/// A node on the way down.
struct Walk<'n> {
    node: &'n Node,
    path: String,
    env: Env<'n>,
}

impl<'n> Walk<'n> {
    fn child(&self, key: &str, node: &'n Node) -> Self {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Walk { node, path, env: self.env }
    }

    /// Lets the seed read this node. An error without a place gets this node's, whoever raised it.
    fn feed<'de, S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Wrong> {
        let (node, path) = (self.node, self.path.clone());
        seed.deserialize(self).map_err(|wrong| {
            Wrong::Known(match wrong {
                Wrong::Known(fault) => fault,
                Wrong::Words(text) => Fault::of_value(node.place.clone(), &path, &text),
                Wrong::Key(key, known) => unknown(&node.place, &path, &key, known),
            })
        })
    }
}

fn unknown(place: &Place, path: &str, key: &str, known: &[&str]) -> Fault {
    let inside = if path.is_empty() { "at the top level".to_owned() } else { format!("in `{path}`") };
    let hint = foreign::advice(path, key).map_or_else(|| hint(key, known), |advice| format!(" (a key of APISIX: {advice})"));
    Fault::new(place.clone(), format!("unknown key `{key}` {inside}{hint}")).veiled()
}

impl<'de> Deserializer<'de> for Walk<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let walk = self;
        match &walk.node.body {
            Body::Null => visitor.visit_unit(),
            Body::Scalar(text, Sense::Text) => visitor.visit_str(text),
            Body::Scalar(_, Sense::Bool(b)) => visitor.visit_bool(*b),
            Body::Scalar(_, Sense::Whole(n)) => visitor.visit_u64(*n),
            Body::Scalar(_, Sense::Below(n)) => visitor.visit_i64(*n),
            Body::Scalar(_, Sense::Number(n)) => visitor.visit_f64(*n),
            Body::List(items) => visitor.visit_seq(Items { walk: &walk, items: items.iter().enumerate() }),
            Body::Map(entries) => visitor.visit_map(Entries::new(&walk, entries, &[])),
        }
    }

    /// A scalar is text wherever text is asked for: `key: 0012` is the text `0012`.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.node.body {
            Body::Scalar(text, _) => visitor.visit_str(text),
            Body::Null | Body::List(_) | Body::Map(_) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.node.body {
            Body::Null => visitor.visit_none(),
            Body::Scalar(..) | Body::List(_) | Body::Map(_) => visitor.visit_some(self),
        }
    }

    /// Keys that the file leaves out are visited too, so that the environment can set them.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let walk = self;
        match &walk.node.body {
            Body::Null => visitor.visit_map(Entries::new(&walk, &[], fields)),
            Body::Map(entries) => visitor.visit_map(Entries::new(&walk, entries, fields)),
            Body::Scalar(..) => Err(Wrong::Words("expected a map, found a single value".to_owned())),
            Body::List(_) => Err(Wrong::Words("expected a map, found a list".to_owned())),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, name: &'static str, len: usize, visitor: V) -> Result<V::Value, Wrong> {
        if name == AT { visitor.visit_seq(Pair { walk: Some(self), placed: false }) } else { self.deserialize_tuple(len, visitor) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match &self.node.body {
            Body::Scalar(text, _) => visitor.visit_enum(Word(text)),
            Body::Null | Body::List(_) | Body::Map(_) => Err(Wrong::Words("expected a word".to_owned())),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple map
    }
}

/// One word of a closed list.
struct Word<'n>(&'n str);

impl<'de> EnumAccess<'de> for Word<'_> {
    type Error = Wrong;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Wrong> {
        let text: StrDeserializer<'_, Wrong> = self.0.into_deserializer();
        Ok((seed.deserialize(text)?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'_> {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _seed: S) -> Result<S::Value, Wrong> {
        Err(Wrong::Words("expected more than a word".to_owned()))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, Wrong> {
        Err(Wrong::Words("expected more than a word".to_owned()))
    }

    fn struct_variant<V: Visitor<'de>>(self, _fields: &'static [&'static str], _visitor: V) -> Result<V::Value, Wrong> {
        Err(Wrong::Words("expected more than a word".to_owned()))
    }
}

struct Items<'w, 'n> {
    walk: &'w Walk<'n>,
    items: std::iter::Enumerate<std::slice::Iter<'n, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Wrong;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Wrong> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let walk = Walk { node, path: format!("{}[{index}]", self.walk.path), env: self.walk.env };
        walk.feed(seed).map(Some)
    }
}

struct Entries<'w, 'n> {
    walk: &'w Walk<'n>,
    left: std::slice::Iter<'n, (Name, Node)>,
    /// Known keys that the map does not have.
    absent: Vec<&'static str>,
    value: Option<(String, Option<&'n Node>)>,
}

impl<'w, 'n> Entries<'w, 'n> {
    fn new(walk: &'w Walk<'n>, entries: &'n [(Name, Node)], fields: &[&'static str]) -> Self {
        let given = |field: &&'static str| entries.iter().any(|(name, _)| name.text == **field);
        let inside_list = env::variable(&walk.path).is_none();
        let absent = if inside_list { Vec::new() } else { fields.iter().copied().filter(|f| !given(f)).collect() };
        Self { walk, left: entries.iter(), absent, value: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = Wrong;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Wrong> {
        let (key, place) = if let Some((name, node)) = self.left.next() {
            self.value = Some((name.text.clone(), Some(node)));
            (name.text.as_str(), &name.place)
        } else if let Some(field) = self.absent.pop() {
            self.value = Some((field.to_owned(), None));
            (field, &Place::Nowhere)
        } else {
            return Ok(None);
        };
        let text: StrDeserializer<'_, Wrong> = key.into_deserializer();
        seed.deserialize(text).map(Some).map_err(|wrong| match wrong {
            Wrong::Key(key, known) => Wrong::Known(unknown(place, &self.walk.path, &key, known)),
            Wrong::Words(_) | Wrong::Known(_) => wrong,
        })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Wrong> {
        let Some((key, given)) = self.value.take() else { return Err(Wrong::Words("a value without a key".to_owned())) };
        let nothing = Node::new(Place::Nowhere, Body::Null);
        let walk = Walk { node: given.unwrap_or(&nothing), ..self.walk.child(&key, &nothing) };
        let set = env::value(walk.env, &walk.path).map_err(Wrong::Known)?;
        Walk { node: set.as_ref().unwrap_or(walk.node), ..walk }.feed(seed)
    }
}

/// The two parts of an [`At`].
struct Pair<'n> {
    walk: Option<Walk<'n>>,
    placed: bool,
}

impl<'de> SeqAccess<'de> for Pair<'_> {
    type Error = Wrong;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Wrong> {
        if !std::mem::replace(&mut self.placed, true) {
            let line: U64Deserializer<Wrong> = match self.walk.as_ref().map(|walk| &walk.node.place) {
                Some(Place::Variable(name)) => {
                    let name: StrDeserializer<'_, Wrong> = name.as_str().into_deserializer();
                    return seed.deserialize(name).map(Some);
                }
                Some(Place::Line(line)) => line.into_deserializer(),
                Some(Place::Nowhere) | None => 0_u64.into_deserializer(),
            };
            return seed.deserialize(line).map(Some);
        }
        self.walk.take().map(|walk| seed.deserialize(walk)).transpose()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Both<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Both<T> {
            type Value = At<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<At<T>, A::Error> {
                match (seq.next_element()?, seq.next_element()?) {
                    (Some(place), Some(value)) => Ok(At { place, value }),
                    _ => Err(A::Error::custom("a value without a place")),
                }
            }
        }
        d.deserialize_tuple_struct(AT, 2, Both(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::tree::parse;

    #[derive(serde::Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Top {
        count: Option<At<u16>>,
        inner: Inner,
        list: Option<Vec<Item>>,
    }

    #[derive(serde::Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        word: Option<Word>,
        text: Option<String>,
        on: Option<bool>,
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        name: String,
    }

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        Red,
        Green,
    }

    fn top(text: &str) -> Result<Top, String> {
        let env = |name: &str| (name == "SLUICE_INNER__WORD").then(|| "green".to_owned());
        read::<Top>(&parse(text).map_err(|f| f.text).unwrap(), &env).map_err(|f| format!("{:?} {}", f.place, f.text))
    }

    #[test]
    fn values_are_typed_and_know_their_line() {
        let top = top("\ncount: 7\nlist: [{name: 0012}]\ninner: {text: true, on: true}").unwrap();
        let count = top.count.unwrap();
        assert_eq!((count.value, count.place), (7, Place::Line(2)));
        assert_eq!(top.list.unwrap().first().map(|i| i.name.as_str()), Some("0012"));
        assert_eq!((top.inner.text.as_deref(), top.inner.on), (Some("true"), Some(true)));
    }

    #[test]
    fn the_environment_sets_keys_that_the_file_leaves_out() {
        assert_eq!(top("count: 1").unwrap().inner.word, Some(Word::Green));
        assert_eq!(top("inner: {word: red}").unwrap().inner.word, Some(Word::Green));
    }

    #[test]
    fn every_wrong_value_is_named_by_path_and_line_and_never_shown() {
        for (text, says) in [
            ("a: 1", "Line(1) unknown key `a` at the top level (known here: count, inner, list)"),
            ("inner:\n  wrod: red", "Line(2) unknown key `wrod` in `inner` (did you mean `word`?)"),
            ("list:\n  - name: a\n  - nam: b", "Line(3) unknown key `nam` in `list[1]` (did you mean `name`?)"),
            ("list: [{}]", "Line(1) `list[0]`: missing key `name`"),
            ("count: hunter2", "Line(1) `count`: expected a whole number, found text"),
            ("count: 70000", "Line(1) `count`: expected a whole number, found a whole number that is out of range"),
            ("list: hunter2", "Line(1) `list`: expected a list, found text"),
            ("inner: hunter2", "Line(1) `inner`: expected a map, found a single value"),
            ("inner: {on: 1}", "Line(1) `inner.on`: expected true or false, found a whole number"),
            ("inner: {text: [1]}", "Line(1) `inner.text`: expected text, found a list"),
        ] {
            assert_eq!(top(text).err().as_deref(), Some(says), "{text}");
        }
    }
}
