//! Values by a beginning or an end of text: one map per length that exists, so that a look-up costs one probe per length and not
//! one per value. Which end is meant is the caller's business.

use std::sync::Arc;

use rpds::HashTrieMapSync;

/// Values by text. A copy shares all values.
#[derive(Debug)]
pub(super) struct Affixes<V> {
    /// The longest first.
    lengths: Vec<(usize, Texts<V>)>,
}

/// Values by whole text.
pub(super) type Texts<V> = HashTrieMapSync<Arc<[u8]>, V>;

impl<V> Clone for Affixes<V> {
    fn clone(&self) -> Self {
        Self { lengths: self.lengths.clone() }
    }
}

impl<V> Default for Affixes<V> {
    fn default() -> Self {
        Self { lengths: Vec::new() }
    }
}

impl<V> Affixes<V> {
    pub(super) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The values of all beginnings of a text, that of the longest first, each with its length.
    pub(super) fn beginnings<'v, 't>(&'v self, text: &'t [u8]) -> impl Iterator<Item = (usize, &'v V)> + use<'v, 't, V> {
        self.lengths.iter().filter_map(move |(length, values)| Some((*length, values.get(text.get(..*length)?)?)))
    }

    /// The values of all ends of a text, that of the longest first, each with its length.
    pub(super) fn ends<'v, 't>(&'v self, text: &'t [u8]) -> impl Iterator<Item = (usize, &'v V)> + use<'v, 't, V> {
        self.lengths.iter().filter_map(move |(length, values)| {
            let from = text.len().checked_sub(*length)?;
            Some((*length, values.get(text.get(from..)?)?))
        })
    }
}

impl<V: Clone + Default> Affixes<V> {
    /// Changes the value of a text, from the default where there was none.
    pub(super) fn change(&mut self, text: &[u8], with: impl FnOnce(&mut V)) {
        let at = self.lengths.partition_point(|(length, _)| *length > text.len());
        if self.lengths.get(at).is_none_or(|(length, _)| *length != text.len()) {
            self.lengths.insert(at, (text.len(), HashTrieMapSync::new_sync()));
        }
        if let Some((_, values)) = self.lengths.get_mut(at) {
            change(values, text, with);
        }
    }

    /// Changes the value of a text, if there is one, and drops it if it is `empty` after that.
    pub(super) fn thin(&mut self, text: &[u8], with: impl FnOnce(&mut V), empty: impl FnOnce(&V) -> bool) {
        let Some(at) = self.lengths.iter().position(|(length, _)| *length == text.len()) else { return };
        if let Some((_, values)) = self.lengths.get_mut(at) {
            thin(values, text, with, empty);
            if values.is_empty() {
                self.lengths.remove(at);
            }
        }
    }
}

/// Changes the value of a text, from the default where there was none.
pub(super) fn change<V: Clone + Default>(values: &mut Texts<V>, text: &[u8], with: impl FnOnce(&mut V)) {
    if let Some(value) = values.get_mut(text) {
        return with(value);
    }
    let mut value = V::default();
    with(&mut value);
    values.insert_mut(text.into(), value);
}

/// Changes the value of a text, if there is one, and drops it if it is `empty` after that.
pub(super) fn thin<V: Clone>(values: &mut Texts<V>, text: &[u8], with: impl FnOnce(&mut V), empty: impl FnOnce(&V) -> bool) {
    let Some(value) = values.get_mut(text) else { return };
    with(value);
    if empty(value) {
        values.remove_mut(text);
    }
}
