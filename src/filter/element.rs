//! One element of `transforms`: its main key, the keys beside it, and the kinds of values that they may have. Never does what they say.

use std::fmt;

use http::header::{self, HeaderName, HeaderValue};

use super::words::{self, Row};
use crate::base::nearest::nearest;
use crate::base::violation::Violation;
use crate::model::TransformSpec;

/// The rule that every violation of a transform breaks.
const RULE: &str = "transform";

/// The most characters of a user's text that a message repeats.
const SHOWN: usize = 80;

/// What a header's value becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Set,
    Append,
}

/// One element, its keys known.
pub(super) struct Element<'s> {
    at: usize,
    row: Row,
    keys: Vec<(String, &'s str, &'s str)>,
}

/// What reading an element or a part of it comes to.
pub(super) type Read<T> = Result<T, Violation>;

impl<'s> Element<'s> {
    /// Reads the keys of the element at a place of the list.
    ///
    /// # Errors
    /// No key names a transform, two do, or one is beside a transform that has no such key.
    pub(super) fn read(at: usize, spec: &'s TransformSpec) -> Read<Self> {
        let mut mains = spec.keys().filter_map(|key| words::row(key).map(|row| (key, row)));
        let Some((main, row)) = mains.next() else {
            let key = spec.keys().find(|key| !beside_any(key)).or_else(|| spec.keys().next());
            return Err(unknown(at, key.map_or("", String::as_str)));
        };
        if let Some((second, _)) = mains.next() {
            let text = format!("{} and {}: write two elements, in the order in which they are to go", shown(main), shown(second));
            return Err(violation(at, Some(second), text));
        }
        let mut keys: Vec<(String, &str, &str)> = Vec::with_capacity(spec.len());
        for (key, value) in spec {
            let plain = words::plain(key);
            if keys.iter().any(|(known, _, _)| *known == plain) {
                return Err(violation(at, Some(key), format!("{} stands twice: case and underscores are no difference", shown(key))));
            }
            if key != main && !row.2.iter().any(|known| words::plain(known) == plain) {
                return Err(stranger(at, key, row));
            }
            keys.push((plain, key, value));
        }
        Ok(Self { at, row, keys })
    }

    pub(super) fn row(&self) -> Row {
        self.row
    }

    /// A violation at one of the keys.
    pub(super) fn wrong(&self, key: &str, text: impl fmt::Display) -> Violation {
        let plain = words::plain(key);
        let written = self.keys.iter().find(|(known, _, _)| *known == plain).map(|(_, written, _)| *written);
        violation(self.at, written, text)
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&'s str> {
        let plain = words::plain(key);
        self.keys.iter().find(|(known, _, _)| *known == plain).map(|(_, _, value)| *value)
    }

    /// The value of the main key.
    pub(super) fn main(&self) -> &'s str {
        self.get(self.row.1).unwrap_or_default()
    }

    /// The value of the main key, which must say something.
    pub(super) fn text(&self) -> Read<&'s str> {
        match self.main() {
            "" => Err(self.wrong(self.row.1, format_args!("{} is empty", self.row.1))),
            text => Ok(text),
        }
    }

    pub(super) fn boolean(&self) -> Read<bool> {
        let value = self.main();
        match value {
            _ if value.eq_ignore_ascii_case("true") => Ok(true),
            _ if value.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(self.wrong(self.row.1, format_args!("{} is true or false, not {}", self.row.1, shown(value)))),
        }
    }

    /// One of the words, without case; the default if the key is absent.
    pub(super) fn word<T: Copy>(&self, key: &str, known: &[(&str, T)], default: T) -> Read<T> {
        let Some(value) = self.get(key) else { return Ok(default) };
        known.iter().find(|(word, _)| value.eq_ignore_ascii_case(word)).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
            self.wrong(key, format_args!("{key} is one of {}, not {}", words.join(", "), shown(value)))
        })
    }

    /// `Set` or `Append`, of which there must be exactly one.
    pub(super) fn value(&self) -> Read<(Write, &'s str)> {
        match (self.get("Set"), self.get("Append")) {
            (Some(value), None) => Ok((Write::Set, value)),
            (None, Some(value)) => Ok((Write::Append, value)),
            (None, None) => Err(self.wrong(self.row.1, format_args!("{} needs Set or Append", self.row.1))),
            (Some(_), Some(_)) => Err(self.wrong("Append", "Set and Append exclude each other")),
        }
    }

    /// `Set` or `Append` as the value of a header. It may be a secret, so no message shows it.
    pub(super) fn header_value(&self) -> Read<(Write, HeaderValue)> {
        let (write, text) = self.value()?;
        let key = if write == Write::Set { "Set" } else { "Append" };
        let value = HeaderValue::from_bytes(text.as_bytes());
        value.map(|value| (write, value)).map_err(|_| self.wrong(key, format_args!("{key} holds a control character")))
    }

    /// The main key's value as the name of a header.
    pub(super) fn name(&self) -> Read<HeaderName> {
        self.name_of(self.row.1, self.text()?)
    }

    /// A text of one of the keys as the name of a header.
    pub(super) fn name_of(&self, key: &str, text: &str) -> Read<HeaderName> {
        let found = HeaderName::from_bytes(text.as_bytes());
        found.map_err(|_| self.wrong(key, format_args!("{} is no name of a header", shown(text))))
    }

    /// As [`Self::name`], of a header that is written: those that frame a message are the gateway's own.
    pub(super) fn written_name(&self) -> Read<HeaderName> {
        let name = self.name()?;
        if framing(&name) || name == header::CONTENT_LENGTH {
            return Err(self.wrong(self.row.1, format_args!("{name} frames the message: only the gateway writes it")));
        }
        Ok(name)
    }

    /// The main key's value as names of headers, separated by `;`.
    pub(super) fn names(&self) -> Read<Box<[HeaderName]>> {
        let mut names = Vec::new();
        for text in self.text()?.split(';').map(str::trim).filter(|text| !text.is_empty()) {
            let name = self.name_of(self.row.1, text)?;
            if framing(&name) {
                return Err(self.wrong(self.row.1, format_args!("{name} frames the message: only the gateway writes it")));
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() {
            return Err(self.wrong(self.row.1, format_args!("{} names no header", self.row.1)));
        }
        Ok(names.into())
    }
}

/// Whether a wrong value of this header would make two parties see different messages.
fn framing(name: &HeaderName) -> bool {
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE].contains(name) || name == "http2-settings"
}

fn beside_any(key: &str) -> bool {
    let plain = words::plain(key);
    words::words().any(|(_, beside)| beside.iter().any(|known| words::plain(known) == plain))
}

fn unknown(at: usize, key: &str) -> Violation {
    if key.is_empty() || beside_any(key) {
        return violation(at, None, "half a transform: the key that says what to do is absent");
    }
    violation(at, Some(key), format!("unknown transform {}{}", shown(key), hint(key, words::words().map(|(name, _)| name))))
}

fn stranger(at: usize, key: &str, row: Row) -> Violation {
    let (_, main, beside) = row;
    let known = if beside.is_empty() { "stands alone".to_owned() } else { format!("goes with {}", beside.join(", ")) };
    violation(at, Some(key), format!("{main} has no {}{}: it {known}", shown(key), hint(key, beside.iter().copied())))
}

fn hint<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> String {
    let pairs: Vec<(String, &str)> = known.map(|name| (words::plain(name), name)).collect();
    let found = nearest(&words::plain(key.get(..SHOWN).unwrap_or(key)), pairs.iter().map(|(plain, _)| plain.as_str()));
    let name = found.and_then(|found| pairs.iter().find(|(plain, _)| plain == found));
    name.map(|(_, name)| format!(" (did you mean {name}?)")).unwrap_or_default()
}

fn violation(at: usize, key: Option<&str>, text: impl fmt::Display) -> Violation {
    let path = match key {
        Some(key) => format!("/transforms/{at}/{}", key.replace('~', "~0").replace('/', "~1")),
        None => format!("/transforms/{at}"),
    };
    Violation::new(path, RULE, text.to_string())
}

/// Text that came from a user, cut where it is too long to be read.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
