//! Names that a TLS client asks for, and the patterns that match them. Never decides which of several patterns wins.

use std::fmt;
use std::sync::Arc;

/// A pattern for the name in a ClientHello (RFC 6066, 3). Lower case, without a trailing dot; names beyond ASCII are as they were
/// written (A-labels).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SniPattern {
    /// One name.
    Exact(Arc<str>),
    /// `*.` before a name: the name after it. How many labels the asterisk covers is for the user of the pattern to say.
    Wildcard(Arc<str>),
    /// `*`: any name.
    Any,
}

/// Text that is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a server name: a name, \"*.\" and a name, or \"*\"")]
pub struct BadSni;

impl SniPattern {
    /// Reads a pattern. Case and one trailing dot do not matter.
    pub fn parse(text: &str) -> Result<Self, BadSni> {
        if text == "*" {
            return Ok(Self::Any);
        }
        match text.strip_prefix("*.") {
            Some(rest) => Ok(Self::Wildcard(name(rest)?)),
            None => Ok(Self::Exact(name(text)?)),
        }
    }
}

impl fmt::Display for SniPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(rest) => write!(f, "*.{rest}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// A name as it is compared: lower case, without one trailing dot. An IP literal passes, as APISIX lets it.
fn name(text: &str) -> Result<Arc<str>, BadSni> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'[' | b']' | b':');
    if text.is_empty() || text.len() > 253 || text.split('.').any(str::is_empty) || !text.bytes().all(legal) {
        return Err(BadSni);
    }
    Ok(text.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_a_trailing_dot_do_not_matter() {
        assert_eq!(SniPattern::parse("A.Test.com.").unwrap(), SniPattern::Exact("a.test.com".into()));
        assert_eq!(SniPattern::parse("*.TesT2.com.").unwrap(), SniPattern::Wildcard("test2.com".into()));
        assert_eq!(SniPattern::parse("*").unwrap(), SniPattern::Any);
        assert_eq!(SniPattern::parse("*.x.org").unwrap().to_string(), "*.x.org");
        assert_eq!(SniPattern::parse("[::1]").unwrap().to_string(), "[::1]");
    }

    #[test]
    fn half_patterns_are_none() {
        for bad in ["", ".", "*.", "**", "*x.com", "a..b", ".a", "a.*.b", "a b", "ü.de", &"x".repeat(254)] {
            assert_eq!(SniPattern::parse(bad), Err(BadSni), "{bad}");
        }
    }
}
