//! A place in the configuration and the typed reading of what is there. What cannot be read is a note and counts as absent.

use std::str::FromStr;

use super::json::{Tree, same};
use super::note::Notes;
use crate::base::duration;

/// A value and where it is.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    /// Its JSON Pointer.
    pub(super) at: String,
    pub(super) tree: &'a Tree,
}

impl<'a> Part<'a> {
    /// A field by its name, without case; `None` for null too.
    pub(super) fn get(&self, name: &str) -> Option<Self> {
        self.fields().into_iter().find(|(key, _)| same(key, name)).map(|(_, part)| part)
    }

    /// All fields that are not null.
    pub(super) fn fields(&self) -> Vec<(&'a str, Self)> {
        let Tree::Map(fields) = self.tree else { return Vec::new() };
        let some = fields.iter().filter(|(_, tree)| *tree != Tree::Null);
        some.map(|(key, tree)| (key.as_str(), Self { at: format!("{}/{}", self.at, escaped(key)), tree })).collect()
    }

    /// The elements of a list. For .NET a map is one too, and so is a single value for most readers.
    pub(super) fn items(&self) -> Vec<Self> {
        match self.tree {
            Tree::List(items) => {
                let part = |(index, tree)| Self { at: format!("{}/{index}", self.at), tree };
                items.iter().enumerate().map(part).filter(|item| *item.tree != Tree::Null).collect()
            }
            Tree::Map(_) => self.fields().into_iter().map(|(_, part)| part).collect(),
            Tree::Scalar(_) => vec![self.clone()],
            Tree::Null => Vec::new(),
        }
    }

    /// The text of a scalar.
    pub(super) fn scalar(&self) -> Option<&'a str> {
        match self.tree {
            Tree::Scalar(text) => Some(text),
            Tree::Null | Tree::List(_) | Tree::Map(_) => None,
        }
    }

    /// The text of a field; a blank one is none.
    pub(super) fn text(&self, name: &str, notes: &mut Notes) -> Option<&'a str> {
        let part = self.get(name)?;
        let text = part.scalar();
        if text.is_none() {
            notes.lost(&part.at, "expected one value");
        }
        text.filter(|text| !text.trim().is_empty())
    }

    /// The texts of a list; blank ones are none.
    pub(super) fn texts(&self, name: &str, notes: &mut Notes) -> Vec<(String, &'a str)> {
        let mut texts = Vec::new();
        for item in self.get(name).map(|list| list.items()).unwrap_or_default() {
            match item.scalar() {
                Some(text) if text.trim().is_empty() => {}
                Some(text) => texts.push((item.at, text)),
                None => notes.lost(&item.at, "expected one value"),
            }
        }
        texts
    }

    /// A whole number.
    pub(super) fn number<T: FromStr>(&self, name: &str, notes: &mut Notes) -> Option<T> {
        let text = self.text(name, notes)?;
        let number = text.trim().parse().ok();
        if number.is_none() {
            notes.lost(&self.at_of(name), format!("{text} is not a whole number of this field"));
        }
        number
    }

    /// `true` or `false`; absent is `false`.
    pub(super) fn flag(&self, name: &str, notes: &mut Notes) -> bool {
        let Some(text) = self.text(name, notes) else { return false };
        let value = ["false", "true"].iter().position(|word| word.eq_ignore_ascii_case(text.trim()));
        if value.is_none() {
            notes.lost(&self.at_of(name), format!("{text} is neither true nor false"));
        }
        value == Some(1)
    }

    /// A `TimeSpan` longer than 0, as a duration of ours.
    pub(super) fn span(&self, name: &str, notes: &mut Notes) -> Option<String> {
        let text = self.text(name, notes)?;
        let span = span(text.trim());
        if let Err(why) = &span {
            notes.lost(&self.at_of(name), format!("{text} {why}"));
        }
        span.ok()
    }

    /// Notes every field that is none of the known ones.
    pub(super) fn strangers(&self, known: &[&str], notes: &mut Notes) {
        for (key, part) in self.fields() {
            if !known.iter().any(|name| same(name, key)) {
                notes.lost(&part.at, "unknown");
            }
        }
    }

    /// The pointer of a field as it is written there.
    pub(super) fn at_of(&self, name: &str) -> String {
        self.get(name).map_or_else(|| format!("{}/{name}", self.at), |part| part.at)
    }
}

/// A name in a JSON Pointer.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// `[d.]hh:mm:ss[.fffffff]`, with the days as hours.
fn span(text: &str) -> Result<String, &'static str> {
    const NONE: &str = "is not a TimeSpan such as 00:00:11";
    let (first, rest) = text.split_once(':').ok_or(NONE)?;
    let (days, hours) = first.split_once('.').unwrap_or(("0", first));
    let (days, hours): (u64, u64) = (days.parse().map_err(|_| NONE)?, hours.parse().map_err(|_| NONE)?);
    let hours = days.saturating_mul(24).saturating_add(hours);
    let clock = format!("{hours:02}:{rest}");
    match duration::parse(&clock) {
        Ok(time) if time.is_zero() => Err("is no time at all"),
        Ok(_) => Ok(clock),
        Err(_) if hours > 366 * 24 => Err("is longer than 366 days"),
        Err(_) => Err(NONE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_span_keeps_its_length() {
        for (text, expected) in [
            ("00:00:11", Ok("00:00:11")),
            ("1.02:03:04.5", Ok("26:03:04.5")),
            ("00:00:00.2500000", Ok("00:00:00.2500000")),
            ("00:00:00", Err("is no time at all")),
            ("10675199.02:48:05.4775807", Err("is longer than 366 days")),
            ("99999999999999999999:00:00", Err("is not a TimeSpan such as 00:00:11")),
        ] {
            assert_eq!(span(text), expected.map(str::to_owned), "{text}");
        }
        for text in ["5", "00:05", "-00:00:01", "a:b:c", "00:61:00", "00:00:60", ""] {
            assert_eq!(span(text), Err("is not a TimeSpan such as 00:00:11"), "{text}");
        }
    }
}
