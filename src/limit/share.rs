//! What one of several gateways may use of numbers that are meant for all of them.

/// This process's place among those that live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// How many there are, this one included: at least 1.
    pub(super) count: u32,
    /// Its place in the order of their names, from 0.
    pub(super) rank: u32,
}

impl Default for Share {
    /// The only one.
    fn default() -> Self {
        Self { count: 1, rank: 0 }
    }
}

impl Share {
    /// Equal parts; what is left goes to the lowest ranks, one each. 0 where there are more gateways than permits.
    pub(super) const fn of(self, whole: u32) -> u32 {
        let count = if self.count == 0 { 1 } else { self.count };
        let left = whole % count;
        if self.rank < left { whole / count + 1 } else { whole / count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_shares_of_all_are_the_whole_and_differ_by_one_at_most(whole in 0u32..10_000, count in 1u32..50) {
            let shares: Vec<u32> = (0..count).map(|rank| Share { count, rank }.of(whole)).collect();
            prop_assert_eq!(shares.iter().sum::<u32>(), whole);
            prop_assert!(shares.is_sorted_by(|a, b| a >= b));
            prop_assert!(shares[0] - shares[shares.len() - 1] <= 1);
        }
    }
}
