//! How fast one source may begin sessions while places are short: a token bucket for each IPv4 address and each IPv6 /64, in a table
//! of a fixed size. Sources that share an entry share its bucket.

use std::net::IpAddr;

/// Entries of the table.
const ENTRIES: usize = 8192;
/// A session, in the unit of the buckets: tokens come at `rate` units a millisecond.
const SESSION: u32 = 1000;

/// How fast one source may begin sessions.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// So many at once.
    pub burst: u32,
    /// So many in a second from then on.
    pub rate: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { burst: 512, rate: 64 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u32,
    at: u64,
}

/// The buckets. They take memory from the first shortage on.
#[derive(Debug)]
pub struct Sources {
    seed: u64,
    pace: Pace,
    buckets: Vec<Bucket>,
}

impl Sources {
    /// Full buckets. The seed, any random number, keeps anybody from choosing addresses that share an entry with somebody else's.
    pub const fn new(seed: u64, pace: Pace) -> Self {
        Self { seed, pace, buckets: Vec::new() }
    }

    /// The entry of a source.
    pub fn entry(&self, source: IpAddr) -> usize {
        let number = match source.to_canonical() {
            IpAddr::V4(v4) => u64::from(v4.to_bits()) | 1 << 63,
            IpAddr::V6(v6) => u64::try_from(v6.to_bits() >> 64).unwrap_or(0),
        };
        // the finaliser of splitmix64: each bit of the input flips half of the output
        let mut mixed = number.wrapping_add(self.seed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(ENTRIES).unwrap_or(1)).unwrap_or(0)
    }

    /// Whether a source may begin a session now, in milliseconds; takes a token if it may.
    pub fn take(&mut self, source: IpAddr, now: u64) -> bool {
        let full = self.pace.burst.saturating_mul(SESSION);
        if self.buckets.is_empty() {
            self.buckets = vec![Bucket { tokens: full, at: now }; ENTRIES];
        }
        let entry = self.entry(source);
        let Some(bucket) = self.buckets.get_mut(entry) else { return false };
        let passed = u32::try_from(now.saturating_sub(bucket.at)).unwrap_or(u32::MAX);
        bucket.tokens = bucket.tokens.saturating_add(passed.saturating_mul(self.pace.rate)).min(full);
        bucket.at = now;
        let enough = bucket.tokens >= SESSION;
        if enough {
            bucket.tokens -= SESSION;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { burst: 256, rate: 64 };

    fn taken(sources: &mut Sources, source: &str, now: u64) -> u32 {
        (0..2 * PACE.burst).map(|_| u32::from(sources.take(source.parse().unwrap(), now))).sum()
    }

    #[test]
    fn a_source_has_its_burst_and_then_its_rate() {
        let mut sources = Sources::new(7, PACE);
        assert_eq!(taken(&mut sources, "192.0.2.1", 5), PACE.burst);
        assert_eq!(taken(&mut sources, "192.0.2.1", 5), 0);
        assert_eq!(taken(&mut sources, "192.0.2.1", 1005), PACE.rate);
        assert_eq!(taken(&mut sources, "192.0.2.1", 900_000), PACE.burst, "never more than the burst");
        assert_eq!(taken(&mut sources, "192.0.2.2", 900_000), PACE.burst, "another source has its own");
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_ipv4_in_ipv6_clothes_is_ipv4() {
        let sources = Sources::new(7, PACE);
        let entry = |text: &str| sources.entry(text.parse().unwrap());
        assert_eq!(entry("2001:db8::1"), entry("2001:db8::ffff:1"));
        assert_ne!(entry("2001:db8::1"), entry("2001:db8:0:1::1"));
        assert_eq!(entry("::ffff:192.0.2.1"), entry("192.0.2.1"));
    }
}
