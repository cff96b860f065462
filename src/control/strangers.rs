//! Keys below the prefix that are of no kind: told once for each word, since it may be a misspelt one. Nobody's mistake otherwise:
//! other programs keep things there too.

use std::collections::BTreeSet;

use crate::base::id::Kind;
use crate::base::nearest::nearest;

/// Words that are remembered; of more nothing is told.
const MOST: usize = 64;
/// Bytes of the longest word that is told of.
const LONGEST: usize = 64;

/// The words that were told.
#[derive(Debug, Default)]
pub(super) struct Strangers(BTreeSet<Box<str>>);

impl Strangers {
    /// Tells of a key, without its prefix, if its word is new.
    pub(super) fn see(&mut self, name: &str) {
        let Some(word) = self.news(name) else { return };
        if let Some(kind) = nearest(word, Kind::ALL.map(Kind::dir)) {
            tracing::warn!(kind = word, key = name, "keys of no known kind are not read (did you mean {kind}?)");
        } else {
            tracing::info!(kind = word, key = name, "keys of no known kind are not read");
        }
    }

    fn news<'n>(&mut self, name: &'n str) -> Option<&'n str> {
        let word = name.split('/').next().filter(|word| !word.is_empty() && word.len() <= LONGEST)?;
        (self.0.len() < MOST && self.0.insert(word.into())).then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_news_once_and_so_many_of_them_at_most() {
        let mut strangers = Strangers::default();
        assert_eq!(strangers.news("stream_route/1"), Some("stream_route"));
        assert_eq!((strangers.news("stream_route/2"), strangers.news("stream_route")), (None, None));
        assert_eq!((strangers.news(""), strangers.news("/1")), (None, None));
        assert_eq!(strangers.news(&"x".repeat(LONGEST + 1)), None);
        let told = (0..1000).filter(|n| strangers.news(&format!("{n}/1")).is_some()).count();
        assert_eq!(told, MOST - 1);
    }
}
