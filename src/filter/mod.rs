//! What an HTTP route does to a request and a response: transforms, compiled once and shared. Knows no sockets, no nodes and no
//! snapshot; whoever forwards calls it with heads.

mod answer;
mod compile;
mod element;
mod forward;
mod hops;
mod path;
mod percent;
mod query;
#[cfg(test)]
mod tests;
mod words;
mod work;

use std::fmt;
use std::net::SocketAddr;

use http::{HeaderMap, StatusCode, request, response};

use crate::base::violation::Violation;
use crate::model::TransformSpec;
use answer::Part;
use work::{Step, Work};

pub use words::words;

/// What is known of a request besides its head.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The client: the one of a believed PROXY header, else the peer.
    pub client: SocketAddr,
    /// Where the client connected to.
    pub local: SocketAddr,
    /// Whether the client speaks TLS with the gateway.
    pub secure: bool,
    /// The client's version of HTTP.
    pub version: http::Version,
    /// `Host` or `:authority` as sent; empty if there was none.
    pub host: &'a str,
    /// What the node is called: `host:port`, or what the upstream says.
    pub node_authority: &'a str,
    /// Whether the node sees the client's `Host` unless the route says otherwise (`pass_host: pass`).
    pub original_host: bool,
    /// The certificate that the client proved to have, as DER.
    pub client_certificate: Option<&'a [u8]>,
}

/// The target has more than 65,534 bytes once the steps changed it. The fault of the client: 414.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request target is too long for what the route makes of it")]
pub struct TooLong;

/// Who says what the node is told of the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Forwarding {
    /// Nobody: the four `X-Forwarded` headers are set.
    #[default]
    Default,
    /// An element of the route.
    Given,
}

/// The transforms of one route, compiled. The default is a route without any.
#[derive(Default)]
pub struct Transforms {
    steps: Box<[Step]>,
    drop_headers: bool,
    original_host: Option<bool>,
    /// The `Host` that the last step on it writes.
    host: Option<Box<str>>,
    forwarding: Forwarding,
    headers: Part,
    trailers: Part,
}

/// The values that headers are set to may be secrets.
impl fmt::Debug for Transforms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transforms")
            .field("request", &self.steps.len())
            .field("response", &self.headers.steps.len())
            .finish_non_exhaustive()
    }
}

impl Transforms {
    /// Compiles the elements of `transforms`, in their order.
    ///
    /// # Errors
    /// What is unknown, half-filled or contradictory, each with its place (`/transforms/<i>/<key>`). No message shows the value that
    /// a header is set to.
    pub fn compile(specs: &[TransformSpec]) -> Result<Self, Vec<Violation>> {
        compile::compile(specs)
    }

    /// Makes of the client's head the one for the node: without the headers of the connection, with `Host` and what tells of the
    /// client, changed by the steps, the target in origin form. Path and query keep their bytes where no step touches them. `Upgrade`
    /// and `Connection` are gone too; the version is left alone.
    ///
    /// # Errors
    /// The target became too long. The head is then half changed and must not be sent.
    pub fn request(&self, head: &mut request::Parts, facts: &Facts<'_>) -> Result<(), TooLong> {
        let mut work = Work::begin(head, facts, !self.drop_headers);
        for step in &self.steps {
            work.apply(step);
        }
        if self.forwarding == Forwarding::Default {
            forward::defaults(&mut work);
        }
        work.finish(self.original_host.unwrap_or(facts.original_host))
    }

    /// The `Host` that [`Self::request`] sends in place of the node's, for a client's and with `original_host` of [`Facts`].
    pub fn host<'h>(&'h self, client: &'h str, original_host: bool) -> Option<&'h str> {
        let original = self.original_host.unwrap_or(original_host);
        let written = self.host.as_deref().filter(|host| original || *host != client);
        written.or((original && !client.is_empty()).then_some(client))
    }

    /// Makes of the node's head the one for the client. `Upgrade` and `Connection` are gone.
    pub fn response(&self, head: &mut response::Parts) {
        self.headers.head(head);
    }

    /// Changes an answer that the gateway gave itself after the route matched (502, 503, 504). Its headers are not the node's, so
    /// that a route which copies none keeps them.
    pub fn local(&self, head: &mut response::Parts) {
        self.headers.run(head.status, &mut head.headers, None);
    }

    /// Whether [`Self::trailers`] changes anything.
    pub fn touches_trailers(&self) -> bool {
        !self.trailers.is_none()
    }

    /// The trailers for the client, from the node's and with the answer's status. Only where the client's connection carries trailers
    /// (HTTP/2).
    pub fn trailers(&self, status: StatusCode, trailers: Option<HeaderMap>) -> Option<HeaderMap> {
        if trailers.is_none() && !self.touches_trailers() {
            return None;
        }
        let mut trailers = trailers.unwrap_or_default();
        self.trailers.apply(status, &mut trailers);
        (!trailers.is_empty()).then_some(trailers)
    }
}
