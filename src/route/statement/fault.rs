//! What the stages of reading a statement say when they cannot go on. Becomes a [`StatementError`] once, at the end.

use winnow::error::ParserError;
use winnow::stream::{Location, Stream};

use super::StatementError;

/// How many characters of a user's word a message repeats.
const LONGEST_SHOWN: usize = 40;

/// A place, as an offset in bytes, and what is wrong there.
#[derive(Debug)]
pub(super) struct Fault {
    at: usize,
    says: String,
    /// Nothing was recognised: another way to read the place may be tried.
    soft: bool,
}

impl Fault {
    pub(super) fn at(at: usize, says: impl Into<String>) -> Self {
        Self { at, says: says.into(), soft: false }
    }

    /// The same with line and column.
    pub(super) fn placed(self, text: &str) -> StatementError {
        let before = text.get(..self.at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let last = before.rsplit('\n').next().unwrap_or_default();
        StatementError { line, column: last.chars().count() + 1, says: self.says }
    }
}

impl<I: Stream + Location> ParserError<I> for Fault {
    type Inner = Self;

    fn from_input(input: &I) -> Self {
        Self { at: input.current_token_start(), says: "this is not part of the language".into(), soft: true }
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }

    fn is_backtrack(&self) -> bool {
        self.soft
    }
}

/// The beginning of what a user wrote, on one line.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(LONGEST_SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST_SHOWN).is_some() {
        short.push('…');
    }
    short
}
