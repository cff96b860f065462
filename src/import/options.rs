//! The options of the whole proxy become `settings/global`.

use serde_json::{Value, json};

use super::file::{File, OPTIONS};
use super::limit;
use super::note::Notes;
use super::part::Part;
use super::put::Put as _;

/// What has no counterpart, and why.
const NONE: [(&str, &str); 2] = [
    ("DnsRefreshPeriod", "names are resolved again when their records expire"),
    ("DnsAddressFamily", "names give addresses of both families"),
];

/// Texts are equal if their characters are, case included.
const ORDINAL: &str = "Ordinal";

/// The setting, if anything is set.
pub(super) fn setting(file: &File<'_>, notes: &mut Notes) -> Option<Value> {
    let mut setting = json!({ "id": "global" });
    for options in &file.options {
        one(options, &mut setting, notes);
        if options.at.to_ascii_lowercase().ends_with("/reverseproxyoptions") {
            options.strangers(&OPTIONS, notes);
        }
    }
    setting.as_object().is_some_and(|fields| fields.len() > 1).then_some(setting)
}

fn one(options: &Part<'_>, setting: &mut Value, notes: &mut Notes) {
    for (name, ours) in [("DefaultProxyTimeout", "default_timeout"), ("ConnectionTimeout", "connect_timeout")] {
        if let Some(span) = options.span(name, notes).filter(|_| setting.get(ours).is_none()) {
            setting.put(ours, span);
        }
    }
    if let Some(limit) = limit::of_all(options, notes).filter(|_| setting.get("limit").is_none()) {
        setting.put("limit", limit);
    }
    for (name, why) in NONE {
        if options.get(name).is_some() {
            notes.lost(&options.at_of(name), why);
        }
    }
    for name in ["RouteCahceSize", "RouteCacheSize"] {
        if options.get(name).is_some() {
            notes.differs(&options.at_of(name), "there is no such cache here");
        }
    }
    match options.text("RouteComparison", notes) {
        Some(word) if !["OrdinalIgnoreCase", ORDINAL].iter().any(|known| word.eq_ignore_ascii_case(known)) => {
            notes.lost(&options.at_of("RouteComparison"), "hosts and paths are compared without case");
        }
        _ => {}
    }
}

/// Whether the case of hosts and paths counts.
pub(super) fn is_ordinal(file: &File<'_>) -> bool {
    let comparison = file.options.iter().find_map(|options| options.get("RouteComparison")?.scalar());
    comparison.is_some_and(|word| word.eq_ignore_ascii_case(ORDINAL))
}
