//! The routes of one place, in the order in which they go. A copy is cheap; a walk over a few of them does not allocate.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::rule::Rule;
use crate::base::id::Id;

/// More routes than this at one place are kept in a tree.
const FEW: usize = 16;

/// Where a route stands among those of its place.
pub(super) type Rank = (i64, Id);

/// A route's filters and its value.
#[derive(Debug)]
pub(super) struct Candidate<T> {
    pub(super) rule: Arc<Rule>,
    pub(super) value: T,
}

/// Routes by rank.
#[derive(Debug)]
pub(super) enum Line<T> {
    Few(Arc<[(Rank, Candidate<T>)]>),
    Many(RedBlackTreeMapSync<Rank, Candidate<T>>),
}

/// A walk over a line. The one over many is boxed: it allocates anyway, and the other one stays small.
pub(super) enum Walk<'l, T> {
    Few(std::slice::Iter<'l, (Rank, Candidate<T>)>),
    Many(Box<dyn Iterator<Item = (&'l Rank, &'l Candidate<T>)> + 'l>),
}

impl<'l, T> Iterator for Walk<'l, T> {
    type Item = (&'l Rank, &'l Candidate<T>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Few(rest) => rest.next().map(|(rank, candidate)| (rank, candidate)),
            Self::Many(rest) => rest.next(),
        }
    }
}

impl<T: Clone> Clone for Candidate<T> {
    fn clone(&self) -> Self {
        Self { rule: self.rule.clone(), value: self.value.clone() }
    }
}

impl<T> Clone for Line<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Few(few) => Self::Few(few.clone()),
            Self::Many(many) => Self::Many(many.clone()),
        }
    }
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self::Few(Arc::new([]))
    }
}

impl<T> Line<T> {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(few) => few.is_empty(),
            Self::Many(many) => many.is_empty(),
        }
    }

    /// The routes in order.
    pub(super) fn walk(&self) -> Walk<'_, T> {
        match self {
            Self::Few(few) => Walk::Few(few.iter()),
            Self::Many(many) => Walk::Many(Box::new(many.iter())),
        }
    }
}

impl<T: Clone> Line<T> {
    /// Adds a route, or replaces the one of the same rank.
    pub(super) fn insert(&mut self, rank: &Rank, candidate: Candidate<T>) {
        let few = match self {
            Self::Many(many) => return many.insert_mut(rank.clone(), candidate),
            Self::Few(few) => few,
        };
        let others = few.iter().filter(|(r, _)| r != rank).cloned();
        let all = others.chain([(rank.clone(), candidate)]);
        if few.len() >= FEW {
            *self = Self::Many(all.collect());
            return;
        }
        let mut sorted: Vec<_> = all.collect();
        sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        *few = sorted.into();
    }

    /// Takes the route of a rank away.
    pub(super) fn remove(&mut self, rank: &Rank) {
        match self {
            Self::Few(few) => *few = few.iter().filter(|(r, _)| r != rank).cloned().collect(),
            Self::Many(many) => {
                many.remove_mut(rank);
                if many.size() <= FEW / 2 {
                    *self = Self::Few(many.iter().map(|(rank, candidate)| (rank.clone(), candidate.clone())).collect());
                }
            }
        }
    }
}
