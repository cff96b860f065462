//! One request on its way through the steps of a route. The client's headers are changed in place; only a route that does not copy
//! them keeps them aside.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Uri, Version, request};

use super::element::Write;
use super::forward::{Forwarded, XForwarded};
use super::hops;
use super::path::{PathStep, without_dots};
use super::query::{Query, QueryStep};
use super::{Facts, TooLong};

/// The longest target that a [`Uri`] can hold.
const LONGEST_TARGET: usize = 65_534;

/// One change of a request.
#[derive(Debug)]
pub(super) enum Step {
    Path(PathStep),
    Query(QueryStep),
    Method { from: Method, to: Method },
    Header(Write, HeaderName, HeaderValue),
    Remove(HeaderName),
    Allow(Box<[HeaderName]>),
    XForwarded(Box<XForwarded>),
    Forwarded(Box<Forwarded>),
    ClientCert(HeaderName),
}

/// A request in the middle of its steps.
pub(super) struct Work<'w> {
    pub(super) facts: &'w Facts<'w>,
    /// What the node gets.
    pub(super) headers: &'w mut HeaderMap,
    /// The client's `Host`, the one of `:authority` too.
    pub(super) client_host: Option<HeaderValue>,
    /// The client's headers, where they are not copied.
    aside: Option<HeaderMap>,
    method: &'w mut Method,
    uri: &'w mut Uri,
    /// The escaped path, once a step touched it.
    path: Option<Vec<u8>>,
    /// The parameters, once a step touched them.
    query: Option<Query>,
}

impl<'w> Work<'w> {
    /// Takes the headers that go on from the client's head: all but those of the connection, or none.
    pub(super) fn begin(head: &'w mut request::Parts, facts: &'w Facts<'w>, copy: bool) -> Self {
        let request::Parts { method, uri, headers, .. } = head;
        let client_host = client_host(headers, facts.host);
        let aside = if copy {
            copied(headers, facts.version);
            None
        } else {
            let mut aside = std::mem::take(headers);
            hops::strip_named(&mut aside);
            if aside.contains_key(header::TRANSFER_ENCODING) {
                aside.remove(header::CONTENT_LENGTH);
            }
            Some(aside)
        };
        Self { facts, headers, client_host, aside, method, uri, path: None, query: None }
    }

    pub(super) fn apply(&mut self, step: &Step) {
        match step {
            Step::Path(step) => self.path(step),
            Step::Query(step) => {
                let query = self.query.get_or_insert_with(|| Query::read(self.uri.query().unwrap_or_default()));
                query.apply(step);
            }
            Step::Method { from, to } => {
                if self.method.as_str().eq_ignore_ascii_case(from.as_str()) {
                    self.method.clone_from(to);
                }
            }
            Step::Header(Write::Set, name, value) => drop(self.headers.insert(name, value.clone())),
            Step::Header(Write::Append, name, value) => self.append(name, value),
            Step::Remove(name) => drop(self.headers.remove(name)),
            Step::Allow(names) => names.iter().for_each(|name| self.allow(name)),
            Step::XForwarded(step) => step.apply(self),
            Step::Forwarded(step) => step.apply(self),
            Step::ClientCert(name) => self.client_cert(name),
        }
    }

    /// Adds a value behind those that are there, in one line: a list must not depend on how it was cut into lines.
    pub(super) fn append(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.adopt(name);
        if let Some(one) = joined(name, self.headers.get_all(name).iter().chain([value])) {
            self.headers.insert(name, one);
        }
    }

    /// Takes a header of the client's that was not copied, unless there is one of that name.
    pub(super) fn adopt(&mut self, name: &HeaderName) {
        if !self.headers.contains_key(name)
            && let Some(aside) = &self.aside
        {
            for value in aside.get_all(name) {
                self.headers.append(name, value.clone());
            }
        }
    }

    fn allow(&mut self, name: &HeaderName) {
        let Some(aside) = &self.aside else { return };
        if self.headers.contains_key(name) && aside.contains_key(name) {
            let all = self.headers.get_all(name).iter().chain(aside.get_all(name));
            if let Some(one) = joined(name, all) {
                self.headers.insert(name, one);
            }
        } else {
            self.adopt(name);
        }
    }

    fn path(&mut self, step: &PathStep) {
        let sent = self.uri.path();
        // `*` and an authority are no paths
        if sent.starts_with('/') && self.uri.path_and_query().is_some() {
            let path = self.path.get_or_insert_with(|| without_dots(sent.as_bytes()));
            step.apply(path);
        }
    }

    fn client_cert(&mut self, name: &HeaderName) {
        self.headers.remove(name);
        let value = self.facts.client_certificate.and_then(|der| HeaderValue::from_maybe_shared(Bytes::from(STANDARD.encode(der))).ok());
        if let Some(value) = value {
            self.headers.insert(name, value);
        }
    }

    /// Writes `Host` and the target.
    pub(super) fn finish(mut self, original_host: bool) -> Result<(), TooLong> {
        self.host(original_host);
        self.target()
    }

    /// A `Host` that a step wrote stays, unless it is the client's own and that is not wanted.
    fn host(&mut self, original: bool) {
        let client = self.client_host.as_ref();
        if self.headers.get(header::HOST).is_some_and(|host| original || Some(host) != client) {
            return;
        }
        let host = client.filter(|_| original && self.aside.is_some()).cloned();
        if let Some(host) = host.or_else(|| HeaderValue::from_str(self.facts.node_authority).ok()) {
            self.headers.insert(header::HOST, host);
        }
    }

    fn target(&mut self) -> Result<(), TooLong> {
        let Some(sent) = self.uri.path_and_query() else { return Ok(()) };
        // an absolute target may go without a path, one in origin form may not (RFC 9112, 3.2.1)
        let is_rooted = !sent.as_str().starts_with('?');
        if self.path.is_none() && self.query.is_none() && is_rooted {
            if self.uri.authority().is_some() {
                *self.uri = Uri::from(sent.clone());
            }
            return Ok(());
        }
        let mut bytes = self.path.take().unwrap_or_else(|| sent.path().as_bytes().to_vec());
        if bytes.is_empty() {
            bytes.push(b'/');
        }
        match (&self.query, sent.query()) {
            (Some(query), _) => query.write(&mut bytes),
            (None, Some(query)) => {
                bytes.push(b'?');
                bytes.extend_from_slice(query.as_bytes());
            }
            (None, None) => {}
        }
        if bytes.len() > LONGEST_TARGET {
            return Err(TooLong);
        }
        *self.uri = PathAndQuery::from_maybe_shared(Bytes::from(bytes)).map(Uri::from).map_err(|_| TooLong)?;
        Ok(())
    }
}

/// The client's `Host` as a value; the header becomes exactly that, wherever it came from.
fn client_host(headers: &mut HeaderMap, host: &str) -> Option<HeaderValue> {
    let mut lines = headers.get_all(header::HOST).iter();
    if let (Some(line), None) = (lines.next(), lines.next())
        && line == host
    {
        return Some(line.clone());
    }
    let value = HeaderValue::from_str(host).ok().filter(|host| !host.is_empty());
    match &value {
        Some(value) => drop(headers.insert(header::HOST, value.clone())),
        None => drop(headers.remove(header::HOST)),
    }
    value
}

/// Leaves what goes on to the node.
fn copied(headers: &mut HeaderMap, version: Version) {
    let removed = hops::strip(headers);
    if version < Version::HTTP_2 {
        return;
    }
    if removed.te_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    // HTTP/2 may cut cookies into lines, which HTTP/1.1 knows nothing of (RFC 9113 8.2.3)
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    if crumbs.next().is_some()
        && crumbs.next().is_some()
        && let Some(one) = joined(&header::COOKIE, headers.get_all(header::COOKIE).iter())
    {
        headers.insert(header::COOKIE, one);
    }
}

/// Several values as one line.
fn joined<'v>(name: &HeaderName, values: impl Iterator<Item = &'v HeaderValue>) -> Option<HeaderValue> {
    let separator: &[u8] = match *name {
        header::COOKIE => b"; ",
        header::USER_AGENT => b" ",
        _ => b", ",
    };
    let (mut bytes, mut sensitive) = (Vec::new(), false);
    for (at, value) in values.enumerate() {
        if at > 0 {
            bytes.extend_from_slice(separator);
        }
        bytes.extend_from_slice(value.as_bytes());
        sensitive |= value.is_sensitive();
    }
    let mut one = HeaderValue::from_maybe_shared(Bytes::from(bytes)).ok()?;
    one.set_sensitive(sensitive);
    Some(one)
}
