//! Transforms of the query. The first one reads the whole query into parameters, and it is written anew at the end; without one it
//! stays as it was sent.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::element::Write;
use super::percent::{decode, encode_query};

/// One change of the query.
#[derive(Debug)]
pub(super) enum QueryStep {
    Value(Write, Box<str>, Box<str>),
    Remove(Box<str>),
}

/// A decoded query: the values by key, in order of first appearance.
#[derive(Debug, Default)]
pub(super) struct Query {
    parameters: Vec<(Vec<u8>, Values)>,
    /// Where a key without its case is. A client may send thousands of keys, so nothing walks over them for each.
    places: HashMap<Vec<u8>, usize>,
}

type Values = SmallVec<[Vec<u8>; 1]>;

impl Query {
    /// Reads an escaped query, without its `?`.
    pub(super) fn read(query: &str) -> Self {
        let mut parsed = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            parsed.values(form(key)).push(form(value));
        }
        parsed
    }

    pub(super) fn apply(&mut self, step: &QueryStep) {
        match step {
            QueryStep::Value(Write::Append, key, value) => self.values(key.as_bytes().to_vec()).push(value.as_bytes().to_vec()),
            QueryStep::Value(Write::Set, key, value) => {
                *self.values(key.as_bytes().to_vec()) = SmallVec::from_iter([value.as_bytes().to_vec()]);
            }
            QueryStep::Remove(key) => self.values(key.as_bytes().to_vec()).clear(),
        }
    }

    /// Appends the query with its `?`; nothing if it has no parameter.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut separator = b'?';
        for (key, values) in &self.parameters {
            for value in values {
                out.push(separator);
                encode_query(key, out);
                out.push(b'=');
                encode_query(value, out);
                separator = b'&';
            }
        }
    }

    #[expect(clippy::indexing_slicing, reason = "every place in the map is one of the list, and nothing is ever taken out of it")]
    fn values(&mut self, key: Vec<u8>) -> &mut Values {
        let at = *self.places.entry(key.to_ascii_lowercase()).or_insert(self.parameters.len());
        if at == self.parameters.len() {
            self.parameters.push((key, SmallVec::new()));
        }
        &mut self.parameters[at].1
    }
}

/// Decodes a part of a query; `+` is a space.
fn form(text: &str) -> Vec<u8> {
    decode(text.replace('+', " ").as_bytes(), |_| false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn applied(query: &str, steps: &[QueryStep]) -> String {
        let mut parsed = Query::read(query);
        for step in steps {
            parsed.apply(step);
        }
        let mut out = Vec::new();
        parsed.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn value(write: Write, key: &str, value: &str) -> QueryStep {
        QueryStep::Value(write, key.into(), value.into())
    }

    #[test]
    fn values_are_set_appended_and_removed() {
        for (query, step, expected) in [
            ("foo=1&a=v&foo=2", value(Write::Set, "foo", "bar"), "?foo=bar&a=v"),
            ("foo=1&a=v", value(Write::Append, "FOO", "b c"), "?foo=1&foo=b%20c&a=v"),
            ("a=v", value(Write::Append, "foo", "x"), "?a=v&foo=x"),
            ("", value(Write::Set, "foo", ""), "?foo="),
            ("a=v&foo=x", QueryStep::Remove("foo".into()), "?a=v"),
            ("FOO=x", QueryStep::Remove("foo".into()), ""),
            ("a=v", QueryStep::Remove("foo".into()), "?a=v"),
        ] {
            assert_eq!(applied(query, &[step]), expected, "{query}");
        }
    }

    #[test]
    fn the_whole_query_is_written_anew() {
        for (query, expected) in [
            ("A=1&b=2&a=3", "?A=1&A=3&b=2"),
            ("a=x+y&b", "?a=x%20y&b="),
            ("&&a=1&", "?a=1"),
            ("=v", "?=v"),
            ("a=b=c/d:e", "?a=b%3Dc%2Fd%3Ae"),
            ("a=%ff%C3%BC!", "?a=%FF%C3%BC!"),
            ("a=1,2;3", "?a=1,2;3"),
        ] {
            assert_eq!(applied(query, &[QueryStep::Remove("none".into())]), expected, "{query}");
        }
    }

    proptest! {
        #[test]
        fn writing_twice_is_writing_once(query in "[a-cA-C=&%0-9+;~'é]{0,40}") {
            let once = applied(&query, &[]);
            prop_assert_eq!(applied(once.trim_start_matches('?'), &[]), once.clone());
        }
    }
}
