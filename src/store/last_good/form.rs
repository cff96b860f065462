//! The form of the file: bytes from a set and back. Touches no disk.
//!
//! A line that names the form, the check sum of all that follows, then: prefix, cluster, time, revision, number of entries, entries.
//! Numbers are big-endian; texts and values stand behind their length.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::{Kept, Refusal};
use crate::store::{Entry, Listing};

/// How every form begins, before its number and a line feed.
const NAME: &[u8] = b"sluice last good set ";
/// How this form begins.
const HEAD: &[u8] = b"sluice last good set 1\n";
/// Bytes of the check sum.
const SUM: usize = 8;

/// A set as bytes. Fails where a key or a value is longer than 4 GiB.
pub(super) fn encode(prefix: &str, kept: &Kept) -> Option<Vec<u8>> {
    let entries = &kept.listing.entries;
    let size = |entry: &Entry| 24 + entry.key.len() + entry.value.len();
    let mut out = Vec::with_capacity(HEAD.len() + SUM + 36 + prefix.len() + entries.iter().map(size).sum::<usize>());
    out.extend_from_slice(HEAD);
    out.extend_from_slice(&[0; SUM]);
    text(&mut out, prefix.as_bytes())?;
    let saved_at = kept.saved_at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let count = u64::try_from(entries.len()).ok()?;
    for number in [kept.cluster, saved_at, kept.listing.at, count] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    for entry in entries {
        out.extend_from_slice(&entry.created.to_be_bytes());
        out.extend_from_slice(&entry.modified.to_be_bytes());
        text(&mut out, entry.key.as_bytes())?;
        text(&mut out, &entry.value)?;
    }
    let (head, body) = out.split_at_mut(HEAD.len() + SUM);
    head.get_mut(HEAD.len()..)?.copy_from_slice(&check_sum(body).to_be_bytes());
    Some(out)
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    out.extend_from_slice(&u32::try_from(bytes.len()).ok()?.to_be_bytes());
    out.extend_from_slice(bytes);
    Some(())
}

/// The set that bytes are, if they are one of this prefix, whole.
pub(super) fn decode(prefix: &str, bytes: &Bytes) -> Result<Kept, Refusal> {
    let body = body(bytes)?;
    let mut rest = Rest(body);
    let found = rest.text().ok_or(Refusal::Damaged)?;
    if found != prefix.as_bytes() {
        return Err(Refusal::Prefix { found: String::from_utf8_lossy(&found).into_owned() });
    }
    rest.kept().ok_or(Refusal::Damaged)
}

/// What stands behind a check sum that fits.
fn body(bytes: &Bytes) -> Result<Bytes, Refusal> {
    let Some(behind) = bytes.strip_prefix(HEAD) else {
        return Err(match bytes.strip_prefix(NAME) {
            Some(form) if form.contains(&b'\n') => Refusal::Form,
            // the beginning of one, or nothing
            Some(_) => Refusal::Damaged,
            None if NAME.starts_with(bytes) => Refusal::Damaged,
            None => Refusal::Foreign,
        });
    };
    let (sum, body) = behind.split_first_chunk::<SUM>().ok_or(Refusal::Damaged)?;
    if u64::from_be_bytes(*sum) != check_sum(body) {
        return Err(Refusal::Damaged);
    }
    Ok(bytes.slice_ref(body))
}

/// What is not read yet.
struct Rest(Bytes);

impl Rest {
    fn number(&mut self) -> Option<u64> {
        let (number, _) = self.0.split_first_chunk::<8>()?;
        let number = u64::from_be_bytes(*number);
        self.0 = self.0.slice(8..);
        Some(number)
    }

    fn text(&mut self) -> Option<Bytes> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let text = self.0.slice_ref(rest.get(..length)?);
        self.0 = self.0.slice_ref(rest.get(length..)?);
        Some(text)
    }

    fn kept(mut self) -> Option<Kept> {
        let (cluster, saved_at, at, count) = (self.number()?, self.number()?, self.number()?, self.number()?);
        let saved_at = UNIX_EPOCH.checked_add(Duration::from_secs(saved_at))?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let (created, modified) = (self.number()?, self.number()?);
            let key: Arc<str> = std::str::from_utf8(&self.text()?).ok()?.into();
            // a copy, so that one small value does not keep the whole file in memory
            let value = Bytes::copy_from_slice(&self.text()?);
            entries.push(Entry { key, value, created, modified });
        }
        self.0.is_empty().then_some(Kept { cluster, saved_at, listing: Listing { entries, at } })
    }
}

/// CRC-64 of ECMA-182, reflected (the one of xz): bytes that were not written, or not as they are, are found.
fn check_sum(bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| {
        let [low, ..] = (sum ^ u64::from(*byte)).to_le_bytes();
        TABLE.get(usize::from(low)).copied().unwrap_or_default() ^ (sum >> 8)
    };
    !bytes.iter().fold(u64::MAX, step)
}

const POLYNOMIAL: u64 = 0xC96C_5795_D787_0F42;
static TABLE: [u64; 256] = table();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would tell")]
const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let (mut n, mut start) = (0, 0_u64);
    while n < 256 {
        let (mut value, mut bit) = (start, 0);
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[n] = value;
        n += 1;
        start += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept(entries: Vec<Entry>) -> Kept {
        Kept { cluster: 7, saved_at: UNIX_EPOCH + Duration::from_secs(1_700_000_000), listing: Listing { entries, at: 19 } }
    }

    fn entry(key: &str, value: &[u8]) -> Entry {
        Entry { key: key.into(), value: Bytes::copy_from_slice(value), created: 3, modified: 9 }
    }

    fn sample() -> Vec<u8> {
        encode("/s", &kept(vec![entry("/s/a", b"1"), entry("/s/b", b""), entry("/s/\u{e4}", &[0, 255, 10])])).unwrap()
    }

    #[test]
    fn the_check_sum_is_the_one_that_the_world_knows() {
        assert_eq!(check_sum(b"123456789"), 0x995D_C9BB_DF19_39FA);
    }

    #[test]
    fn a_file_that_ends_anywhere_before_its_end_is_refused() {
        let whole = sample();
        for end in 0..whole.len() {
            let torn = Bytes::copy_from_slice(&whole[..end]);
            assert!(matches!(decode("/s", &torn), Err(Refusal::Damaged)), "{end} of {} bytes", whole.len());
        }
        assert!(decode("/s", &whole.into()).is_ok());
    }

    #[test]
    fn a_file_whose_end_was_never_written_is_refused() {
        let whole = sample();
        for end in HEAD.len()..whole.len() {
            let mut torn = whole.clone();
            torn[end..].fill(0);
            assert!(torn == whole || matches!(decode("/s", &torn.into()), Err(Refusal::Damaged)), "zeros from {end}");
        }
        let mut longer = whole;
        longer.push(0);
        assert!(matches!(decode("/s", &longer.into()), Err(Refusal::Damaged)));
    }

    #[test]
    fn a_bit_that_fell_over_anywhere_is_seen() {
        let whole = sample();
        for bit in 0..whole.len() * 8 {
            let mut hurt = whole.clone();
            hurt[bit / 8] ^= 1 << (bit % 8);
            assert!(decode("/s", &hurt.into()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_prefix_another_form_and_another_file_are_named() {
        let refused = |bytes: &[u8], prefix: &str| decode(prefix, &Bytes::copy_from_slice(bytes)).unwrap_err();
        assert!(matches!(refused(&sample(), "/other"), Refusal::Prefix { found } if found == "/s"));
        assert!(matches!(refused(b"sluice last good set 0\n...", "/s"), Refusal::Form));
        assert!(matches!(refused(b"root:x:0:0:root:/root:/bin/bash\n", "/s"), Refusal::Foreign));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(all in prop::collection::vec((".*", prop::collection::vec(any::<u8>(), 0..80), any::<u64>(), any::<u64>()), 0..20),
                                   prefix in "/[a-z/]*", cluster: u64, at: u64) {
            let entries = all.into_iter()
                .map(|(key, value, created, modified)| Entry { key: key.into(), value: value.into(), created, modified }).collect();
            let kept = Kept { cluster, listing: Listing { entries, at }, ..kept(vec![]) };
            let bytes = encode(&prefix, &kept).unwrap();
            prop_assert_eq!(decode(&prefix, &bytes.into()).unwrap(), kept);
        }
    }
}
