//! The routes of one host, by path: exact before the longest beginning before any, within one order. Knows no host.

use rpds::HashTrieMapSync;
use smallvec::SmallVec;

use super::affix::{Affixes, Texts, change, thin};
use super::line::{Candidate, Line, Rank, Walk};
use super::request::{NeedsForm, Request};
use crate::route::fold::{Short, folded};

/// Routes by path. A copy shares everything with its original.
#[derive(Debug)]
pub(super) struct Paths<T> {
    exact: Texts<Line<T>>,
    begins: Affixes<Line<T>>,
    any: Line<T>,
}

/// What a pattern matches.
enum Place {
    Exact(Short),
    Begins(Short),
    Any,
}

impl Place {
    fn of(pattern: &str) -> Self {
        match pattern.strip_suffix('*') {
            Some("") => Self::Any,
            Some(beginning) => Self::Begins(folded(beginning)),
            None => Self::Exact(folded(pattern)),
        }
    }
}

impl<T> Clone for Paths<T> {
    fn clone(&self) -> Self {
        Self { exact: self.exact.clone(), begins: self.begins.clone(), any: self.any.clone() }
    }
}

impl<T> Default for Paths<T> {
    fn default() -> Self {
        Self { exact: HashTrieMapSync::new_sync(), begins: Affixes::default(), any: Line::default() }
    }
}

impl<T> Paths<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.begins.is_empty() && self.any.is_empty()
    }

    /// The first route in order whose filters let the request pass; `path` is its path without case.
    pub(super) fn find(&self, path: &[u8], request: &Request<'_>) -> Result<Option<&T>, NeedsForm> {
        let exact = self.exact.get(path);
        let lines = exact.into_iter().chain(self.begins.beginnings(path).map(|(_, line)| line)).chain([&self.any]);
        // lines by specificity, each with the route whose turn it is
        let mut heads: SmallVec<[_; 8]> = SmallVec::new();
        for line in lines {
            let mut walk = line.walk();
            if let Some(head) = walk.next() {
                heads.push((head, walk));
            }
        }
        while let Some(candidate) = next(&mut heads) {
            if candidate.rule.accepts(request)? {
                return Ok(Some(&candidate.value));
            }
        }
        Ok(None)
    }
}

type Head<'l, T> = ((&'l Rank, &'l Candidate<T>), Walk<'l, T>);

/// Takes the first route of all lines: by order, then from the most specific line, then by id.
fn next<'l, T>(heads: &mut SmallVec<[Head<'l, T>; 8]>) -> Option<&'l Candidate<T>> {
    // the first of equal ones is found, and lines stand by specificity; ids of one line are in order already
    let (at, _) = heads.iter().enumerate().min_by_key(|(_, (((order, _), _), _))| *order)?;
    let ((_, candidate), walk) = heads.get_mut(at)?;
    let candidate = *candidate;
    match walk.next() {
        Some(head) => heads.get_mut(at)?.0 = head,
        None => drop(heads.remove(at)),
    }
    Some(candidate)
}

impl<T: Clone> Paths<T> {
    pub(super) fn insert(&mut self, pattern: &str, rank: &Rank, candidate: Candidate<T>) {
        let add = |line: &mut Line<T>| line.insert(rank, candidate);
        match Place::of(pattern) {
            Place::Exact(text) => change(&mut self.exact, &text, add),
            Place::Begins(text) => self.begins.change(&text, add),
            Place::Any => add(&mut self.any),
        }
    }

    pub(super) fn remove(&mut self, pattern: &str, rank: &Rank) {
        let take = |line: &mut Line<T>| line.remove(rank);
        match Place::of(pattern) {
            Place::Exact(text) => thin(&mut self.exact, &text, take, Line::is_empty),
            Place::Begins(text) => self.begins.thin(&text, take, Line::is_empty),
            Place::Any => take(&mut self.any),
        }
    }
}
