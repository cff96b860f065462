//! What is counted and told of one request: from its head to the end of its answer, exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::http::request;
use hyper::{Method, StatusCode, Version};
use tokio::time::Instant;

use super::rescue::Speaks;
use super::serve::Front;
use crate::base::meter::{ByteMeter, Direction};
use crate::base::reason::Reason;
use crate::limit::Hold;
use crate::live::sessions::Session;
use crate::proxy::record;
use crate::snapshot::HttpRoute;
use crate::telemetry::{HttpRecord, Record, RouteSeries};
use crate::upstream::http::Crossed;

/// The bytes of one request's bodies: for itself, its connection and its route.
#[derive(Debug)]
pub(super) struct Tally {
    session: Arc<Session>,
    series: Arc<RouteSeries>,
    moved: [AtomicU64; 2],
}

impl Tally {
    fn of(&self, direction: Direction) -> &AtomicU64 {
        let [inward, outward] = &self.moved;
        match direction {
            Direction::In => inward,
            Direction::Out => outward,
        }
    }

    /// Bytes both ways so far.
    pub(super) fn total(&self) -> u64 {
        self.moved.iter().map(|way| way.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

impl ByteMeter for Tally {
    #[expect(clippy::as_conversions, reason = "a usize fits into 64 bits")]
    fn moved(&self, direction: Direction, bytes: usize) {
        self.of(direction).fetch_add(bytes as u64, Ordering::Relaxed);
        self.session.add_bytes(direction, bytes as u64);
        self.series.moved(direction, bytes);
    }
}

/// The account of one request. Dropped without [`Account::close`], it ends as the client's doing: nobody waits for the answer.
#[derive(Debug)]
pub(super) struct Account {
    front: Arc<Front>,
    began: Instant,
    tally: Arc<Tally>,
    route: Option<Arc<HttpRoute>>,
    revision: u64,
    reason: Reason,
    status: StatusCode,
    answered: bool,
    speaks: Speaks,
    /// Whether the client can be sent trailers.
    trailers: bool,
    node: Option<Arc<str>>,
    retries: usize,
    connect: Option<Duration>,
    /// The permit of a limit, for as long as the request lasts.
    hold: Option<Hold>,
    /// Whether the body was cut where it was too long.
    crossed: Option<Arc<Crossed>>,
    /// Only where a line will be written.
    line: Option<Box<HttpRecord>>,
}

impl Account {
    /// The account of a request that came now.
    pub(super) fn open(
        front: &Arc<Front>,
        began: Instant,
        head: &request::Parts,
        route: Option<Arc<HttpRoute>>,
        revision: u64,
        timeout: Duration,
    ) -> Self {
        front.begin(timeout);
        let series = route.as_ref().map_or_else(|| front.shared.unrouted.clone(), |route| route.series.clone());
        let tally = Arc::new(Tally { session: front.session.clone(), series, moved: [AtomicU64::new(0), AtomicU64::new(0)] });
        let line = front.shared.access.wants().then(|| Box::new(line(head)));
        let (reason, status, answered) = (Reason::ClientReset, StatusCode::OK, false);
        Self {
            front: front.clone(),
            began,
            tally,
            route,
            revision,
            reason,
            status,
            answered,
            speaks: Speaks::of(head),
            trailers: head.version == Version::HTTP_2 && head.method != Method::HEAD,
            node: None,
            retries: 0,
            connect: None,
            hold: None,
            crossed: None,
            line,
        }
    }

    /// Who counts the bytes.
    pub(super) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// The route, if one was found.
    pub(super) fn route(&self) -> Option<&HttpRoute> {
        self.route.as_deref()
    }

    /// What the client understands.
    pub(super) const fn speaks(&self) -> Speaks {
        self.speaks
    }

    /// When the request's head had come.
    pub(super) const fn began(&self) -> Instant {
        self.began
    }

    /// Notes the node.
    pub(super) fn reached(&mut self, node: Option<Arc<str>>, retries: usize, connect: Option<Duration>) {
        (self.node, self.retries, self.connect) = (node, retries, connect);
    }

    /// Keeps a permit until the end.
    pub(super) fn hold(&mut self, hold: Option<Hold>) {
        self.hold = hold;
    }

    /// Where it is told that the body was longer than it may be.
    pub(super) fn bounded(&mut self, crossed: Option<Arc<Crossed>>) {
        self.crossed = crossed;
    }

    /// Whether it was.
    pub(super) fn crossed(&self) -> bool {
        self.crossed.as_ref().is_some_and(|crossed| crossed.get())
    }

    /// The rest of the body is not read: an HTTP/1 connection ends with the answer.
    pub(super) fn unread(&self) {
        self.front.linger();
    }

    /// Notes the status that the client gets.
    pub(super) const fn answered(&mut self, status: StatusCode) {
        (self.status, self.answered) = (status, true);
    }

    /// Whether the client may get trailers that the node does not send.
    pub(super) fn adds_trailers(&self) -> bool {
        let bodiless = matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.trailers && !bodiless && self.route.as_ref().is_some_and(|route| route.transforms.touches_trailers())
    }

    /// The trailers that the client gets, made of the node's.
    pub(super) fn trailers(&self, trailers: Option<HeaderMap>) -> Option<HeaderMap> {
        match &self.route {
            Some(route) if self.trailers => route.transforms.trailers(self.status, trailers),
            _ => trailers,
        }
    }

    /// The end, with its reason.
    pub(super) fn close(mut self, reason: Reason) {
        // an answer that breaks off because the request did has that as its cause
        self.reason = if reason != Reason::Ok && self.crossed() { Reason::BodyTooLarge } else { reason };
    }

    fn record(&mut self, mut http: Box<HttpRecord>, lasted: Duration) -> Record {
        http.status = if self.answered { self.status.as_u16() } else { 0 };
        Record {
            route: self.route.as_ref().map(|route| route.id.clone()),
            upstream: self.route.as_ref().and_then(|route| route.target.as_ref()).map(|target| target.name().clone()),
            endpoint: self.node.take(),
            retries: u32::try_from(self.retries).unwrap_or(u32::MAX),
            connect: self.connect,
            duration: lasted,
            rx_bytes: self.tally.of(Direction::In).load(Ordering::Relaxed),
            tx_bytes: self.tally.of(Direction::Out).load(Ordering::Relaxed),
            reason: self.reason,
            config_revision: self.revision,
            http: Some(http),
            ..record::of(&self.front.session)
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.front.end();
        let lasted = self.began.elapsed();
        drop(self.hold.take());
        if self.answered {
            self.tally.series.answered(self.status.as_u16(), lasted);
        }
        if let Some(line) = self.line.take() {
            let record = self.record(line, lasted);
            self.front.shared.access.submit(record);
        }
    }
}

fn line(head: &request::Parts) -> HttpRecord {
    let text = |name| head.headers.get(name).map(|value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into());
    let host = head.uri.authority().map(|authority| authority.as_str().into());
    HttpRecord {
        method: head.method.as_str().into(),
        host: host.or_else(|| text(hyper::header::HOST)).unwrap_or_default(),
        path: head.uri.path().into(),
        version: match head.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        },
        status: 0,
        user_agent: text(hyper::header::USER_AGENT),
    }
}
