//! Where things are in an `appsettings.json`: the four maps, the options beside them, and ids that are legal here.

use std::collections::BTreeSet;

use super::ImportError;
use super::json::{Tree, same};
use super::note::Notes;
use super::part::Part;
use crate::base::id::Id;

/// What the options of the whole proxy are called, with its own spelling.
pub(super) const OPTIONS: [&str; 9] = [
    "Section",
    "RouteCahceSize",
    "RouteCacheSize",
    "RouteComparison",
    "DefaultProxyTimeout",
    "DnsRefreshPeriod",
    "DnsAddressFamily",
    "ConnectionTimeout",
    "Limit",
];

/// The four maps.
const MAPS: [&str; 4] = ["Listen", "Routes", "Clusters", "Sni"];
/// Sections of the program around the proxy.
const HOST: [&str; 7] = ["Logging", "AllowedHosts", "ConnectionStrings", "Kestrel", "Urls", "$schema", "DetailedErrors"];

/// One object of a map.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    /// Its name there.
    pub(super) key: &'a str,
    /// Its id here.
    pub(super) id: String,
    pub(super) part: Part<'a>,
}

/// A whole configuration.
#[derive(Debug)]
pub(super) struct File<'a> {
    pub(super) listens: Vec<Entry<'a>>,
    pub(super) routes: Vec<Entry<'a>>,
    pub(super) clusters: Vec<Entry<'a>>,
    pub(super) snis: Vec<Entry<'a>>,
    /// Where the options of the whole proxy may be.
    pub(super) options: Vec<Part<'a>>,
}

impl<'a> File<'a> {
    /// Finds the section, and notes what else there is.
    pub(super) fn find(tree: &'a Tree, notes: &mut Notes) -> Result<Self, ImportError> {
        let top = Part { at: String::new(), tree };
        let beside = top.get("ReverseProxyOptions");
        let named = beside.as_ref().and_then(|options| options.get("Section")?.scalar()).unwrap_or("ReverseProxy");
        let section = top.get(named).or_else(|| MAPS.iter().any(|name| top.get(name).is_some()).then(|| top.clone()));
        let section = section.ok_or(ImportError::NoProxy)?;
        around(&top, &section.at, notes);
        let own: Vec<&str> = MAPS.iter().chain(&OPTIONS).copied().chain(["ReverseProxyOptions"]).collect();
        if !section.at.is_empty() {
            section.strangers(&own, notes);
        }
        let options = [section.get("ReverseProxyOptions"), beside, Some(section.clone())];
        let [listens, routes, clusters, snis] = MAPS.map(|map| entries(section.get(map), notes));
        Ok(Self { listens, routes, clusters, snis, options: options.into_iter().flatten().collect() })
    }
}

/// The object of a name; ids have no case.
pub(super) fn named<'f, 'a>(entries: &'f [Entry<'a>], name: &str) -> Option<&'f Entry<'a>> {
    entries.iter().find(|entry| same(entry.key, name))
}

fn around(top: &Part<'_>, section: &str, notes: &mut Notes) {
    for (key, part) in top.fields() {
        let is = |name: &&str| same(name, key);
        if part.at == section || same(key, "ReverseProxyOptions") || section.is_empty() && MAPS.iter().chain(&OPTIONS).any(is) {
            continue;
        }
        if same(key, "ServerOptions") {
            for (_, option) in part.fields() {
                notes.lost(&option.at, "the server has its own limits here, in conf/config.yaml");
            }
        } else if HOST.iter().any(is) {
            notes.differs(&part.at, "belongs to the program around the proxy; not read");
        } else {
            notes.lost(&part.at, "unknown");
        }
    }
}

fn entries<'a>(map: Option<Part<'a>>, notes: &mut Notes) -> Vec<Entry<'a>> {
    let mut names = Names::default();
    let mut found = Vec::new();
    for (key, part) in map.map(|map| map.fields()).unwrap_or_default() {
        if !matches!(part.tree, Tree::Map(_)) {
            notes.lost(&part.at, "expected an object");
            continue;
        }
        let id = names.take(key);
        if id != key {
            notes.differs(&part.at, format!("its id is {id} here"));
        }
        found.push(Entry { key, id, part });
    }
    found
}

/// The ids of one kind.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// A legal id that nobody has yet, as near to the wanted one as can be.
    pub(super) fn take(&mut self, wanted: &str) -> String {
        let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
        let plain: String = wanted.chars().map(legal).take(Id::MAX).collect();
        let plain = if plain.is_empty() { "-".to_owned() } else { plain };
        let mut id = plain.clone();
        let mut number = 1;
        while !self.0.insert(id.clone()) {
            number += 1;
            let tail = format!("-{number}");
            id = plain.chars().take(Id::MAX.saturating_sub(tail.len())).collect::<String>() + &tail;
        }
        id
    }
}
