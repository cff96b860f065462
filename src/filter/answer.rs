//! Transforms of an answer: of its headers and, with the same steps, of its trailers.

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, response};

use super::element::Write;
use super::hops;

/// On which answers a step works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Success,
    Failure,
    Always,
}

/// The words of `When`.
pub(super) const WHENS: [(&str, When); 3] = [("Success", When::Success), ("Failure", When::Failure), ("Always", When::Always)];

impl When {
    fn takes(self, status: StatusCode) -> bool {
        match self {
            Self::Success => status.as_u16() < 400,
            Self::Failure => status.as_u16() >= 400,
            Self::Always => true,
        }
    }
}

/// One change.
#[derive(Debug)]
pub(super) enum Step {
    Write(Write, HeaderName, HeaderValue, When),
    Remove(HeaderName, When),
    Allow(Box<[HeaderName]>),
}

/// The changes of one part of an answer.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) steps: Box<[Step]>,
    /// Nothing of the node's is taken but what the steps name.
    pub(super) drop: bool,
}

impl Part {
    /// Whether it changes anything.
    pub(super) fn is_none(&self) -> bool {
        self.steps.is_empty() && !self.drop
    }

    /// The node's head, before it goes to the client.
    pub(super) fn head(&self, head: &mut response::Parts) {
        if head.status.is_informational() || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
            head.headers.remove(CONTENT_LENGTH);
        }
        self.apply(head.status, &mut head.headers);
    }

    /// Headers or trailers of the node's.
    pub(super) fn apply(&self, status: StatusCode, headers: &mut HeaderMap) {
        if self.drop {
            let mut aside = std::mem::take(headers);
            hops::strip_named(&mut aside);
            self.run(status, headers, Some(&aside));
        } else {
            hops::strip(headers);
            self.run(status, headers, None);
        }
    }

    /// The steps, on what is there; with the node's headers aside where they are not taken.
    pub(super) fn run(&self, status: StatusCode, headers: &mut HeaderMap, aside: Option<&HeaderMap>) {
        for step in &self.steps {
            match step {
                Step::Write(write, name, value, when) if when.takes(status) => {
                    if *write == Write::Set {
                        headers.insert(name, value.clone());
                    } else {
                        if !headers.contains_key(name) {
                            take(name, headers, aside);
                        }
                        headers.append(name, value.clone());
                    }
                }
                Step::Remove(name, when) if when.takes(status) => drop(headers.remove(name)),
                Step::Allow(names) => names.iter().for_each(|name| take(name, headers, aside)),
                Step::Write(..) | Step::Remove(..) => {}
            }
        }
    }
}

fn take(name: &HeaderName, headers: &mut HeaderMap, aside: Option<&HeaderMap>) {
    for value in aside.into_iter().flat_map(|aside| aside.get_all(name)) {
        headers.append(name, value.clone());
    }
}
