//! Hosts and paths of a route compared with case, after the tables have found it without. Only ever refuses.

use super::request::Request;
use super::table;
use crate::base::addr::without_port;
use crate::model::{Case, RouteMatch};

/// The patterns of a route that count with case; of each sort any when empty.
#[derive(Debug)]
pub(super) struct Cased {
    hosts: Box<[Box<str>]>,
    paths: Box<[Box<str>]>,
}

impl Cased {
    /// `None` if case does not count.
    pub(super) fn of(matching: &RouteMatch) -> Option<Self> {
        let hosts = match matching.case {
            Case::Ignored => return None,
            Case::Paths => Box::default(),
            Case::HostsAndPaths => table::hosts(matching).map(Into::into).collect(),
        };
        Some(Self { hosts, paths: matching.paths.iter().map(|path| path.as_str().into()).collect() })
    }

    pub(super) fn takes(&self, request: &Request<'_>) -> bool {
        let any_of = |patterns: &[Box<str>], takes: &dyn Fn(&str) -> bool| patterns.is_empty() || patterns.iter().any(|p| takes(p));
        any_of(&self.hosts, &|pattern| takes_host(pattern, request.host))
            && any_of(&self.paths, &|pattern| takes_path(pattern, request.path))
    }
}

fn takes_host(pattern: &str, host: &str) -> bool {
    let host = if without_port(pattern).len() < pattern.len() { host } else { without_port(host) };
    match pattern.strip_prefix('*') {
        Some(end) => host.ends_with(end),
        None => host == pattern,
    }
}

fn takes_path(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => path.starts_with(beginning),
        None => path == pattern,
    }
}
