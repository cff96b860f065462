//! Which node is next: groups by priority, smooth weighted round robin within a group. Pure but for its own counters.

use std::sync::Mutex;

use smallvec::SmallVec;

/// The nodes that one session has tried, by their index.
#[derive(Clone, Debug, Default)]
pub struct Tried(SmallVec<[u16; 6]>);

impl Tried {
    fn has(&self, index: u16) -> bool {
        self.0.contains(&index)
    }

    /// How many were tried.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// The choice among the nodes of one upstream.
#[derive(Debug)]
pub(super) struct Balance {
    /// From the highest priority to the lowest.
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    members: Vec<Member>,
    /// Of each member, in step with `members`; absent where there is nothing to choose.
    current: Option<Mutex<Vec<i64>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    index: u16,
    weight: i64,
}

/// What the balance knows of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Its share within its priority.
    pub weight: u32,
    /// Higher is used first.
    pub priority: i32,
}

impl Balance {
    /// Groups the nodes, given in their order. Nodes of weight 0 stay out where their group has another; a group of nothing but
    /// zeros shares equally.
    pub(super) fn new(shares: impl IntoIterator<Item = Share>) -> Self {
        let mut by_priority = std::collections::BTreeMap::<std::cmp::Reverse<i32>, Vec<Member>>::new();
        for (index, share) in (0..=u16::MAX).zip(shares) {
            by_priority.entry(std::cmp::Reverse(share.priority)).or_default().push(Member { index, weight: i64::from(share.weight) });
        }
        Self { groups: by_priority.into_values().map(Group::new).collect() }
    }

    /// How many nodes can be chosen.
    pub(super) fn usable(&self) -> usize {
        self.groups.iter().map(|g| g.members.len()).sum()
    }

    /// The next node for a session, by index: of the highest group that has one untried. Once all were tried, it begins again.
    /// `None`: there is no node at all.
    pub(super) fn next(&self, tried: &mut Tried) -> Option<usize> {
        if tried.count() >= self.usable() {
            tried.0.clear();
        }
        let index = self.groups.iter().find_map(|g| g.next(tried))?;
        tried.0.push(index);
        Some(usize::from(index))
    }
}

impl Group {
    fn new(members: Vec<Member>) -> Self {
        let weighted: Vec<Member> = members.iter().copied().filter(|m| m.weight > 0).collect();
        let members = if weighted.is_empty() { members.into_iter().map(|m| Member { weight: 1, ..m }).collect() } else { weighted };
        let current = (members.len() > 1).then(|| Mutex::new(vec![0; members.len()]));
        Self { members, current }
    }

    fn next(&self, tried: &Tried) -> Option<u16> {
        let Some(current) = &self.current else {
            return self.members.first().map(|m| m.index).filter(|i| !tried.has(*i));
        };
        // held for a few additions; a panic inside could leave the numbers uneven, never wrong
        let mut current = current.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut total = 0;
        let mut best: Option<(i64, usize, u16)> = None;
        for (at, (member, now)) in self.members.iter().zip(current.iter_mut()).enumerate() {
            if tried.has(member.index) {
                continue;
            }
            total += member.weight;
            *now += member.weight;
            if best.is_none_or(|(most, ..)| *now > most) {
                best = Some((*now, at, member.index));
            }
        }
        let (_, at, index) = best?;
        if let Some(chosen) = current.get_mut(at) {
            *chosen -= total;
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance(shares: &[(u32, i32)]) -> Balance {
        Balance::new(shares.iter().map(|(weight, priority)| Share { weight: *weight, priority: *priority }))
    }

    fn firsts(b: &Balance, n: usize) -> Vec<usize> {
        (0..n).map(|_| b.next(&mut Tried::default()).unwrap()).collect()
    }

    #[test]
    fn a_heavy_node_is_spread_between_the_light_ones() {
        assert_eq!(firsts(&balance(&[(5, 0), (1, 0), (1, 0)]), 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn a_session_tries_each_node_once_by_priority_then_begins_again() {
        let b = balance(&[(1, 0), (2, 1), (1, 1), (1, -1)]);
        let mut tried = Tried::default();
        let order: Vec<_> = (0..5).map(|_| b.next(&mut tried).unwrap()).collect();
        assert_eq!(order, [1, 2, 0, 3, 2], "the second round goes on where the round robin stands");
    }

    #[test]
    fn weight_zero_is_used_only_where_there_is_nothing_else() {
        let b = balance(&[(0, 0), (1, 0)]);
        assert_eq!((firsts(&b, 3), b.usable()), (vec![1, 1, 1], 1));
        assert_eq!(firsts(&balance(&[(0, 0), (0, 0)]), 4), [0, 1, 0, 1]);
        assert_eq!(firsts(&balance(&[(0, 0)]), 2), [0, 0]);
        assert_eq!(balance(&[]).next(&mut Tried::default()), None);
    }

    #[test]
    fn nine_to_one_is_exact_over_each_ten() {
        let all = firsts(&balance(&[(9, 0), (1, 0)]), 100);
        for ten in all.chunks(10) {
            assert_eq!(ten.iter().filter(|i| **i == 1).count(), 1);
        }
    }
}
