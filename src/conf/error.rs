//! What is wrong with the configuration file, and where. Shows the line, never a value that could be a secret.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Where something of the configuration was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it is a default, or the file as a whole.
    Nowhere,
    /// A line of the file, from 1.
    Line(u64),
    /// An environment variable.
    Variable(String),
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Seen;
        impl Visitor<'_> for Seen {
            type Value = Place;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a place")
            }
            fn visit_u64<E: Error>(self, line: u64) -> Result<Place, E> {
                Ok(if line == 0 { Place::Nowhere } else { Place::Line(line) })
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Place, E> {
                Ok(Place::Variable(name.to_owned()))
            }
        }
        d.deserialize_any(Seen)
    }
}

/// How much of the line an error shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// All of it, unless it speaks of keys or passwords.
    Line,
    /// What stands before the first value: the line may hold a secret.
    Key,
    /// None of it: it is a secret, or stands where one belongs.
    Nothing,
}

/// Whether a text speaks of something whose value is a secret.
fn private(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    ["key", "password", "secret", "token"].iter().any(|word| lower.contains(word))
}

/// One thing that is wrong, before the file is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) text: String,
    pub(super) show: Show,
}

impl Fault {
    pub(super) fn new(place: Place, text: impl Into<String>) -> Self {
        Self { place, text: text.into(), show: Show::Line }
    }

    /// What is wrong with the value at a path.
    pub(super) fn of_value(place: Place, path: &str, text: &str) -> Self {
        let show = if private(path) { Show::Nothing } else { Show::Line };
        Self { place, text: if path.is_empty() { text.to_owned() } else { format!("`{path}`: {text}") }, show }
    }

    /// The same without the line's values.
    pub(super) fn veiled(self) -> Self {
        Self { show: Show::Key, ..self }
    }
}

/// Why a configuration cannot be used. One line, then the line of the file that it speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfError {
    /// The file.
    pub file: PathBuf,
    /// Where in it, or in which environment variable.
    pub place: Place,
    /// What is wrong, in one line.
    pub message: String,
    excerpt: Option<String>,
}

impl ConfError {
    pub(super) fn new(file: &Path, source: &str, fault: Fault) -> Self {
        let excerpt = match &fault.place {
            Place::Line(line) => excerpt(source, *line, fault.show),
            Place::Nowhere | Place::Variable(_) => None,
        };
        Self { file: file.to_owned(), place: fault.place, message: fault.text, excerpt }
    }

    /// The line of the file, from 1, if the fault has one.
    pub fn line(&self) -> Option<u64> {
        match self.place {
            Place::Line(line) => Some(line),
            Place::Nowhere | Place::Variable(_) => None,
        }
    }
}

impl fmt::Display for ConfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Line(line) => write!(f, "{}:{line}: {}", self.file.display(), self.message)?,
            Place::Nowhere => write!(f, "{}: {}", self.file.display(), self.message)?,
            Place::Variable(name) => write!(f, "environment variable {name}: {}", self.message)?,
        }
        self.excerpt.as_ref().map_or(Ok(()), |line| write!(f, "\n{line}"))
    }
}

impl std::error::Error for ConfError {}

fn excerpt(source: &str, line: u64, show: Show) -> Option<String> {
    let index = usize::try_from(line).ok()?.checked_sub(1)?;
    let text = source.lines().nth(index)?.trim_end();
    let shown = match show {
        Show::Line if !private(text) => text.to_owned(),
        Show::Line | Show::Key => keys_only(text),
        Show::Nothing => return None,
    };
    Some(format!("{line:>5} | {shown}"))
}

/// The line up to its first value.
fn keys_only(text: &str) -> String {
    let plain = |key: &str| key.bytes().all(|b| b.is_ascii_alphanumeric() || b" _-.".contains(&b));
    let (head, value) = match text.split_once(": ").or_else(|| text.strip_suffix(':').map(|key| (key, ""))) {
        Some((key, value)) if plain(key) => (format!("{key}:"), value),
        _ => {
            let indent = text.len() - text.trim_start_matches([' ', '-']).len();
            (text.chars().take(indent).collect(), text.trim())
        }
    };
    if value.trim().is_empty() || value.trim().starts_with('#') { head } else { format!("{} …", head.trim_end()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str, show: Show) -> String {
        ConfError::new(Path::new("c.yaml"), line, Fault { place: Place::Line(1), text: "bad".into(), show }).to_string()
    }

    #[test]
    fn an_error_names_file_and_line_and_shows_the_line() {
        assert_eq!(shown("  stream_porxy:", Show::Key), "c.yaml:1: bad\n    1 |   stream_porxy:");
        assert_eq!(shown("  workers: two", Show::Line), "c.yaml:1: bad\n    1 |   workers: two");
    }

    #[test]
    fn a_line_that_may_hold_a_secret_shows_no_value() {
        for (line, show) in [
            ("  passwrod: hunter2", Show::Key),
            ("  password: hunter2", Show::Line),
            ("    - hunter2", Show::Key),
            ("    - hunter2:x", Show::Key),
            ("    - hunter2:x hunter2", Show::Key),
            ("  - { name: admin, key: hunter2 }", Show::Line),
            ("key: \"hunter2\"", Show::Line),
            ("'a:b': hunter2", Show::Key),
        ] {
            let text = shown(line, show);
            assert!(!text.contains("hunter2") && text.ends_with('…'), "{text}");
        }
    }
}
