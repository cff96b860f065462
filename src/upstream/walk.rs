//! The way from node to node of a target: which comes next, and what is told of those that failed.

use std::sync::Arc;

use tokio::time::Instant;

use super::balance::Tried;
use super::connect::DialError;
use super::node::Node;
use super::target::Target;
use crate::base::reason::Reason;
use crate::telemetry::RouteSeries;

/// One session's or request's way. At most as many nodes as the target allows, and none after the target's time for retries.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    target: &'a Target,
    series: &'a RouteSeries,
    began: Instant,
    tried: Tried,
    /// What is to be said if no other node comes.
    last: DialError,
    /// No other node would help.
    over: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(target: &'a Target, series: &'a RouteSeries, began: Instant) -> Self {
        let last = DialError { reason: Reason::NoHealthyNode, tries: 0, node: None };
        Self { target, series, began, tried: Tried::default(), last, over: false }
    }

    /// The node to try now.
    pub(super) fn next(&mut self) -> Option<&'a Arc<Node>> {
        let tries = self.last.tries;
        let late = || tries > 0 && self.target.retry_timeout().is_some_and(|t| self.began.elapsed() >= t);
        if self.over || tries > self.target.retries() || late() {
            return None;
        }
        self.target.next(&mut self.tried)
    }

    /// Nodes that failed.
    pub(super) const fn retries(&self) -> usize {
        self.last.tries
    }

    /// Notes that a node could not be reached.
    pub(super) fn failed(&mut self, node: &Arc<Node>, reason: Reason) {
        self.series.connect_failed(node.label(), reason);
        tracing::debug!(node = %node.label(), %reason, "connect failed");
        self.last = DialError { reason, tries: self.last.tries + 1, node: Some(node.clone()) };
        // no other node helps against a lack of ours
        self.over = reason == Reason::Overload;
    }

    /// The end of a way that led nowhere.
    pub(super) fn end(&self) -> DialError {
        DialError { reason: self.last.reason, tries: self.last.tries, node: self.last.node.clone() }
    }
}
