//! What is told of a configuration besides the resources: a sort, a place, a sentence.

use std::fmt;

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Something has no counterpart in what was written.
    Lost,
    /// Something was written, or needs no counterpart, but means something else here.
    Differs,
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "not carried over",
            Self::Differs => "differs",
        })
    }
}

/// One line for the user. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub sort: Sort,
    /// Where, as a JSON Pointer (RFC 6901) into the configuration.
    pub path: String,
    /// One sentence.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.sort, self.path, self.text)
    }
}

/// Notes in the making; each is kept once.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<Note>);

impl Notes {
    pub(super) fn lost(&mut self, path: &str, text: impl Into<String>) {
        self.add(Sort::Lost, path, text.into());
    }

    pub(super) fn differs(&mut self, path: &str, text: impl Into<String>) {
        self.add(Sort::Differs, path, text.into());
    }

    /// An object may be read for several resources.
    fn add(&mut self, sort: Sort, path: &str, text: String) {
        let path = if path.is_empty() { "/" } else { path };
        let note = Note { sort, path: path.to_owned(), text };
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    pub(super) fn into_vec(self) -> Vec<Note> {
        self.0
    }
}
