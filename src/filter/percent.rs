//! Percent-encoding (RFC 3986 2.1): which bytes of a text may stand in a target, and what an escape stands for.

/// Appends a text; bytes that `stays` refuses become escapes.
fn encode(text: &[u8], stays: fn(u8) -> bool, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |at: u8| DIGITS.get(usize::from(at)).copied().unwrap_or(b'0');
    for &byte in text {
        if stays(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// Appends decoded text of a path: `pchar` and `/` stay (RFC 3986 3.3).
pub(super) fn encode_path(text: &[u8], out: &mut Vec<u8>) {
    encode(text, |b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&b), out);
}

/// Appends a decoded key or value of a query. What separates or is read differently by anybody is escaped, `+`, `/` and `:` too.
pub(super) fn encode_query(text: &[u8], out: &mut Vec<u8>) {
    encode(text, |b| b.is_ascii_alphanumeric() || b"-._~!$()*,;@".contains(&b), out);
}

/// The bytes of an escaped text; what is no escape stands for itself. `kept` escapes stay as they are.
pub(super) fn decode(text: &[u8], kept: fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        match escape(rest) {
            Some(byte) if !kept(byte) => {
                out.push(byte);
                rest = rest.get(3..).unwrap_or_default();
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

/// The byte of the escape that a text begins with.
fn escape(text: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    match *text {
        [b'%', high, low, ..] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_read_and_everything_else_stands_for_itself() {
        for (text, expected) in [("a%20b", "a b"), ("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("%2541", "%41"), ("%2f%2F", "//")] {
            assert_eq!(decode(text.as_bytes(), |_| false), expected.as_bytes(), "{text}");
        }
        assert_eq!(decode(b"/a%2Fb%41", |b| b == b'/'), b"/a%2FbA");
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            for encode in [encode_path, encode_query] {
                let mut out = Vec::new();
                encode(&text, &mut out);
                let plain = out.iter().all(|b| b.is_ascii_graphic() && !b"?#\"<>[]\\^`{|}".contains(b));
                prop_assert!(plain);
                prop_assert_eq!(decode(&out, |_| false), text.clone());
            }
        }
    }
}
