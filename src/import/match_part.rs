//! `Match` of a route. Whatever narrows a route and cannot be carried over takes the route with it: none ever matches more than it did.

use serde_json::{Value, json};

use super::json::same;
use super::note::Notes;
use super::part::Part;
use super::put::Put as _;
use crate::route::statement::Statement;

/// The longest host and path.
const LONGEST: (usize, usize) = (261, 4096);

/// The `match` of a route; `None` if it has to be left out, with its reason as a note.
pub(super) fn read(part: &Part<'_>, notes: &mut Notes) -> Option<Value> {
    part.strangers(&["Hosts", "Paths", "Methods", "Statement"], notes);
    let hosts = hosts(part, notes);
    let paths = list(part, "Paths", notes, |path| (path.len() > LONGEST.1).then_some("is too long"));
    let (Some(hosts), Some(paths)) = (hosts, paths) else {
        notes.lost(&part.at, "without Hosts or without Paths it matches nothing in VKProxy: the route is left out");
        return None;
    };
    let mut matching = json!({ "hosts": hosts, "paths": paths });
    if part.get("Methods").is_some_and(|methods| !methods.items().is_empty()) {
        let Some(methods) = list(part, "Methods", notes, |method| (!is_token(method)).then_some("is no method")) else {
            notes.lost(&part.at_of("Methods"), "no method is left: the route is left out");
            return None;
        };
        matching.put("methods", methods);
    }
    if let Some(text) = part.text("Statement", notes) {
        matching.put("statement", statement(part, text, notes)?);
    }
    Some(matching)
}

fn statement(part: &Part<'_>, text: &str, notes: &mut Notes) -> Option<String> {
    let at = part.at_of("Statement");
    match Statement::from_vkproxy(text) {
        Ok(carried) => {
            for says in carried.differs {
                notes.differs(&at, says);
            }
            Some(carried.text)
        }
        Err(wrong) => {
            let newer = text.contains("Request.") || text.contains("==") || text.contains("&&");
            let hint = if newer { " (the language of VKProxy 0.0.1 is not read)" } else { "" };
            notes.lost(&at, format!("{wrong}{hint}: the route is left out; VKProxy would serve it without the statement"));
            None
        }
    }
}

/// With what `localhost:<port>` stands for.
fn hosts(part: &Part<'_>, notes: &mut Notes) -> Option<Vec<String>> {
    let mut hosts = list(part, "Hosts", notes, |host| match host {
        _ if host.contains('/') => Some("is a URL and matches no host"),
        _ if !host.is_ascii() => Some("is matched in its ASCII form (xn--…) only"),
        _ if host.contains(|c: char| c.is_ascii_whitespace() || c.is_ascii_control()) => Some("has spaces"),
        _ if host.len() > LONGEST.0 => Some("is too long"),
        _ => None,
    })?;
    let local = hosts.iter().find_map(|host| {
        let (name, port) = host.split_once(':')?;
        (same(name, "localhost") && port.parse::<u16>().is_ok()).then(|| port.to_owned())
    });
    if let Some(port) = local {
        hosts.extend([format!("127.0.0.1:{port}"), format!("[::1]:{port}")]);
    }
    Some(hosts)
}

/// What is left of a list; `None` if that is nothing.
fn list(part: &Part<'_>, name: &str, notes: &mut Notes, wrong: impl Fn(&str) -> Option<&'static str>) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for (at, text) in part.texts(name, notes) {
        match wrong(text) {
            Some(why) => notes.lost(&at, format!("{text} {why}")),
            None => all.push(text.to_owned()),
        }
    }
    Some(all).filter(|all| !all.is_empty())
}

/// A method is a token (RFC 9110, 5.6.2).
fn is_token(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&b))
}
