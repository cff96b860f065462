//! The compiled form of a statement and how it is evaluated: no allocation, no clock, no backtracking.

use regex::bytes::Regex;

use super::values::{Many, Pick, Single, Walked, walk};
use crate::route::fold::Folded;
use crate::route::http::request::{NeedsForm, Request};

/// A condition.
#[derive(Debug)]
pub(super) enum Node {
    Any(Box<[Node]>),
    All(Box<[Node]>),
    Not(Box<Node>),
    /// A field of text.
    Text {
        field: Single,
        test: TextTest,
        negated: bool,
    },
    /// A field of many texts. Negated: none of them is so.
    Texts {
        field: Many,
        pick: Pick,
        test: TextTest,
        negated: bool,
    },
    /// A field that is true or false: which of the two hold.
    Flag {
        field: Flag,
        no: bool,
        yes: bool,
    },
    /// The content length.
    Length {
        test: NumberTest,
        negated: bool,
    },
}

/// What is asked of a text.
#[derive(Debug)]
pub(super) enum TextTest {
    /// That it is one of these, or absent where `absent` is set.
    OneOf {
        list: Box<[Folded]>,
        absent: bool,
    },
    Matches(Regex),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    IsHttps,
    HasFormContentType,
}

/// What is asked of a number. One that is absent fulfils nothing but `absent`.
#[derive(Debug)]
pub(super) enum NumberTest {
    OneOf { list: Box<[i64]>, absent: bool },
    Less(i64),
    AtMost(i64),
    Greater(i64),
    AtLeast(i64),
}

impl Node {
    /// Whether a request fulfils the condition.
    pub(super) fn holds(&self, request: &Request<'_>) -> Result<bool, NeedsForm> {
        match self {
            Self::Any(parts) => first(parts, request, true),
            Self::All(parts) => first(parts, request, false).map(|failed| !failed),
            Self::Not(inner) => inner.holds(request).map(|holds| !holds),
            Self::Text { field, test, negated } => Ok(field.of(request).map_or(test.absent(), |value| test.is(value)) != *negated),
            Self::Texts { field, pick, test, negated } => Ok(match walk(*field, pick, request, &|value| test.is(value))? {
                Walked::Found => !negated,
                Walked::Others => *negated,
                Walked::Nothing => test.absent() != *negated,
                Walked::NoForm => false,
            }),
            Self::Flag { field, no, yes } => Ok(if field.of(request) { *yes } else { *no }),
            Self::Length { test, negated } => Ok(test.is(request.content_length()) != *negated),
        }
    }
}

/// Whether one of the parts has this outcome; those after it are not looked at.
fn first(parts: &[Node], request: &Request<'_>, outcome: bool) -> Result<bool, NeedsForm> {
    for part in parts {
        if part.holds(request)? == outcome {
            return Ok(true);
        }
    }
    Ok(false)
}

impl TextTest {
    fn is(&self, value: &[u8]) -> bool {
        match self {
            Self::OneOf { list, .. } => list.iter().any(|one| one.is(value)),
            Self::Matches(regex) => regex.is_match(value),
        }
    }

    fn absent(&self) -> bool {
        matches!(self, Self::OneOf { absent: true, .. })
    }
}

impl Flag {
    fn of(self, request: &Request<'_>) -> bool {
        match self {
            Self::IsHttps => request.scheme.eq_ignore_ascii_case("https"),
            Self::HasFormContentType => request.has_form(),
        }
    }
}

impl NumberTest {
    fn is(&self, value: Option<u64>) -> bool {
        let Some(value) = value.map(i128::from) else { return matches!(self, Self::OneOf { absent: true, .. }) };
        match self {
            Self::OneOf { list, .. } => list.iter().any(|one| i128::from(*one) == value),
            Self::Less(than) => value < i128::from(*than),
            Self::AtMost(most) => value <= i128::from(*most),
            Self::Greater(than) => value > i128::from(*than),
            Self::AtLeast(least) => value >= i128::from(*least),
        }
    }
}
