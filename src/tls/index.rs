//! Which of many values a name in a ClientHello leads to. Persistent: a copy shares everything with its original, and an edit
//! costs no more among many than among few.

use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use crate::base::id::Id;
use crate::base::sni::SniPattern;

/// Who goes first among values of one name: the older, then the smaller id.
pub type Rank = (u64, Id);

/// The claims of one name, the winner first.
type Line<T> = RedBlackTreeMapSync<Rank, T>;

/// Values by name. An asterisk covers exactly one label, as in certificates (RFC 9525, 6.3).
#[derive(Debug)]
pub struct Index<T> {
    exact: HashTrieMapSync<Arc<str>, Line<T>>,
    /// By the name after the asterisk's dot.
    wildcard: HashTrieMapSync<Arc<str>, Line<T>>,
    any: Line<T>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { exact: HashTrieMapSync::new_sync(), wildcard: HashTrieMapSync::new_sync(), any: Line::new_sync() }
    }
}

impl<T> Clone for Index<T> {
    fn clone(&self) -> Self {
        Self { exact: self.exact.clone(), wildcard: self.wildcard.clone(), any: self.any.clone() }
    }
}

impl<T: Clone> Index<T> {
    /// Adds a value under a pattern, or replaces the one of the same rank.
    pub fn insert(&mut self, pattern: &SniPattern, rank: Rank, value: T) {
        let (map, name) = match pattern {
            SniPattern::Exact(name) => (&mut self.exact, name),
            SniPattern::Wildcard(rest) => (&mut self.wildcard, rest),
            SniPattern::Any => return self.any.insert_mut(rank, value),
        };
        match map.get_mut(name) {
            Some(line) => line.insert_mut(rank, value),
            None => map.insert_mut(name.clone(), Line::new_sync().insert(rank, value)),
        }
    }

    /// Takes the value of a rank out of a pattern.
    pub fn remove(&mut self, pattern: &SniPattern, rank: &Rank) {
        let (map, name) = match pattern {
            SniPattern::Exact(name) => (&mut self.exact, name),
            SniPattern::Wildcard(rest) => (&mut self.wildcard, rest),
            SniPattern::Any => {
                self.any.remove_mut(rank);
                return;
            }
        };
        let Some(line) = map.get_mut(name) else { return };
        line.remove_mut(rank);
        if line.is_empty() {
            map.remove_mut(name);
        }
    }

    /// The value for a name in lower case without a trailing dot: its own, else that of the asterisk before its parent, else that
    /// of `*`.
    pub fn find(&self, name: &str) -> Option<&T> {
        let own = self.exact.get(name);
        let parent = || name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
        let line = own.or_else(parent).unwrap_or(&self.any);
        line.first().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(created: u64, id: &str) -> Rank {
        (created, Id::parse(id).unwrap())
    }

    fn pattern(text: &str) -> SniPattern {
        SniPattern::parse(text).unwrap()
    }

    fn index(patterns: &[&'static str]) -> Index<&'static str> {
        let mut index = Index::default();
        for (n, text) in patterns.iter().enumerate() {
            index.insert(&pattern(text), rank(u64::try_from(n).unwrap(), "x"), *text);
        }
        index
    }

    #[test]
    fn an_exact_name_goes_before_an_asterisk_and_that_before_any() {
        let index = index(&["*", "*.test.com", "a.test.com"]);
        for (name, found) in
            [("a.test.com", "a.test.com"), ("b.test.com", "*.test.com"), ("test.com", "*"), ("a.b.test.com", "*"), ("localhost", "*")]
        {
            assert_eq!(index.find(name), Some(&found), "{name}");
        }
    }

    #[test]
    fn an_asterisk_covers_exactly_one_label_and_nothing_covers_the_rest() {
        let index = index(&["*.x.com"]);
        assert_eq!(index.find("a.x.com"), Some(&"*.x.com"));
        for name in ["x.com", "a.b.x.com", "", "com"] {
            assert_eq!(index.find(name), None, "{name}");
        }
    }

    #[test]
    fn of_two_claims_the_older_wins_and_the_other_takes_over() {
        let mut index = Index::default();
        index.insert(&pattern("a"), rank(7, "young"), 7);
        index.insert(&pattern("a"), rank(3, "old"), 3);
        let before = index.clone();
        index.remove(&pattern("a"), &rank(3, "old"));
        assert_eq!((before.find("a"), index.find("a")), (Some(&3), Some(&7)));
        index.remove(&pattern("a"), &rank(7, "young"));
        assert_eq!(index.find("a"), None);
    }
}
