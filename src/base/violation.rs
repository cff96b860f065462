//! Why an object was not taken: the same words in the Admin answer, the control API, the metric and the log.

use std::fmt;

use super::secret::{STARS, betrays};

/// One thing that is wrong with an object. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// Where, as a JSON Pointer (RFC 6901) into the object; empty for the object as a whole.
    pub path: String,
    /// The rule that was broken: a JSON Schema keyword, or a word of ours such as `duplicate_key`.
    pub rule: String,
    /// What is wrong, for people.
    pub message: String,
}

impl Violation {
    /// Joins the three parts. A private key that stood where something else belongs is not repeated.
    pub fn new(path: impl Into<String>, rule: impl Into<String>, message: impl Into<String>) -> Self {
        let hushed = |text: String| if betrays(&text) { STARS.to_owned() } else { text };
        Self { path: hushed(path.into()), rule: rule.into(), message: hushed(message.into()) }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

/// How far an object came before it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Its key is not one of ours.
    Key,
    /// Its bytes are not JSON, or too large, too deep, or with a key twice.
    Json,
    /// It breaks the schema of its kind.
    Schema,
    /// It has the form, but not a meaning: fields that contradict each other, or that this build does not serve.
    Meaning,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 4] = [Self::Key, Self::Json, Self::Schema, Self::Meaning];

    /// The word in answers, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Json => "json",
            Self::Schema => "schema",
            Self::Meaning => "meaning",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refused value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The key as written, without the prefix.
    pub key: String,
    /// The store revision of the refused value; 0 for one that was never stored.
    pub at: u64,
    /// How far it came.
    pub stage: Stage,
    /// What is wrong; at least one.
    pub violations: Vec<Violation>,
}
