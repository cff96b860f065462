//! Numbers as they are written in statements: exact, never floating point.

use std::fmt;

/// The most digits of a number.
const MOST_DIGITS: usize = 28;

/// A decimal number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    /// Without leading zeros; empty for 0.
    whole: String,
    /// The scale is kept: `7.0` is not `7` as text.
    fraction: String,
}

impl Decimal {
    /// Reads digits with at most one point among them. `None`: more than one point, or more digits than a number may have.
    pub(super) fn new(negative: bool, digits: &str) -> Option<Self> {
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let whole = whole.trim_start_matches('0');
        if fraction.contains('.') || whole.len() + fraction.len() > MOST_DIGITS {
            return None;
        }
        Some(Self { negative, whole: whole.to_owned(), fraction: fraction.to_owned() })
    }

    /// Whether it is 0.
    pub(super) fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.bytes().all(|b| b == b'0')
    }

    /// The nearest whole number, the even one of two that are as near; `None` if it has no place in 64 bits.
    pub(super) fn rounded(&self) -> Option<i64> {
        let whole: i128 = if self.whole.is_empty() { 0 } else { self.whole.parse().ok()? };
        let (first, rest) = self.fraction.split_at_checked(1).unwrap_or(("0", ""));
        let half = rest.bytes().all(|b| b == b'0');
        let up = match first {
            "5" if half => whole % 2 != 0,
            digit => digit >= "5",
        };
        let rounded = whole + i128::from(up);
        i64::try_from(if self.negative { -rounded } else { rounded }).ok()
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative && !self.is_zero() { "-" } else { "" };
        let whole = if self.whole.is_empty() { "0" } else { &self.whole };
        let point = if self.fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{}", self.fraction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_number() {
        for (text, rounded) in [("29.5", 30), ("30.5", 30), ("30.51", 31), ("30.49", 30), ("0.5", 0), ("1.500", 2), ("7", 7), ("1.", 1)] {
            assert_eq!(Decimal::new(false, text).unwrap().rounded(), Some(rounded), "{text}");
            assert_eq!(Decimal::new(true, text).unwrap().rounded(), Some(-rounded), "-{text}");
        }
        assert_eq!(Decimal::new(false, "9223372036854775808").unwrap().rounded(), None);
    }

    #[test]
    fn as_text_the_scale_stays() {
        let text = |negative, digits| Decimal::new(negative, digits).unwrap().to_string();
        assert_eq!(
            [text(false, "7.0"), text(false, "007"), text(false, "1."), text(true, "5.60"), text(true, "0.0")],
            ["7.0", "7", "1", "-5.60", "0.0"]
        );
        assert!(Decimal::new(false, "1.2.3").is_none() && Decimal::new(false, &"9".repeat(29)).is_none());
    }
}
