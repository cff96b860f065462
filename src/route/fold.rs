//! Text compared without case, the one way for hosts, paths and statements. Never changes what is forwarded.

use smallvec::SmallVec;

/// Folded text on the stack, as long as it has at most 256 bytes.
pub(super) type Short = SmallVec<[u8; 256]>;

/// A character without its case. ASCII folds within ASCII only, so that no look-alike (`ſ`, the Kelvin sign) passes for a letter.
pub(super) fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) if !one.is_ascii() => one,
        _ => c,
    }
}

/// Text without its case. Allocates only for text longer than 256 bytes.
pub(super) fn folded(text: &str) -> Short {
    if text.is_ascii() {
        let mut short = Short::from_slice(text.as_bytes());
        short.make_ascii_lowercase();
        return short;
    }
    let mut short = Short::new();
    let mut bytes = [0; 4];
    for c in text.chars() {
        short.extend_from_slice(fold(c).encode_utf8(&mut bytes).as_bytes());
    }
    short
}

/// Text to compare others with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folded(Box<str>);

impl Folded {
    /// Takes the case from a text.
    pub(super) fn new(text: &str) -> Self {
        Self(text.chars().map(fold).collect())
    }

    /// Whether bytes from the wire are this text, whatever their case. Bytes that are no UTF-8 are nobody's text.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        if bytes.is_ascii() {
            return self.0.as_bytes().eq_ignore_ascii_case(bytes);
        }
        std::str::from_utf8(bytes).is_ok_and(|text| text.chars().map(fold).eq(self.0.chars()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_nothing_and_every_other_difference_is_one() {
        for (a, b) in [("/Users", "/uSERS"), ("straße", "STRAßE"), ("ÄÖ", "äö"), ("", "")] {
            assert!(Folded::new(a).is(b.as_bytes()), "{a} {b}");
            assert_eq!(folded(a), folded(b));
        }
        for (a, b) in [("k", "\u{212a}"), ("s", "ſ"), ("i", "İ"), ("a", "á"), ("a", "ab")] {
            assert!(!Folded::new(a).is(b.as_bytes()), "{a} {b}");
            assert_ne!(folded(a), folded(b));
        }
        assert!(!Folded::new("ä").is(b"\xe4"));
    }
}
