//! `Limit` becomes `limit`, of a route or of all.

use serde_json::{Value, json};

use super::note::Notes;
use super::part::Part;
use super::put::Put as _;

const FIELDS: [&str; 9] =
    ["By", "Header", "Cookie", "Policy", "PermitLimit", "QueueLimit", "SegmentsPerWindow", "Window", "TokensPerPeriod"];
const POLICIES: [(&str, &str); 4] =
    [("Concurrency", "concurrency"), ("FixedWindow", "fixed_window"), ("SlidingWindow", "sliding_window"), ("TokenBucket", "token_bucket")];
/// The numbers, with the least and the most that are taken here.
const NUMBERS: [(&str, &str, i64, i64); 4] = [
    ("PermitLimit", "permit_limit", 1, 4_294_967_295),
    ("QueueLimit", "queue_limit", 0, 1_000_000),
    ("SegmentsPerWindow", "segments_per_window", 1, 100),
    ("TokensPerPeriod", "tokens_per_period", 1, 4_294_967_295),
];

/// The limit of a route; `policy: none` for one that only takes its route out of the global limit.
pub(super) fn of_route(route: &Part<'_>, notes: &mut Notes) -> Option<Value> {
    let part = route.get("Limit")?;
    Some(read(&part, notes).unwrap_or_else(|| {
        notes.differs(&part.at, "no known Policy or no PermitLimit: it limits nothing, not even by the global limit");
        json!({ "policy": "none" })
    }))
}

/// The limit of all routes without their own.
pub(super) fn of_all(options: &Part<'_>, notes: &mut Notes) -> Option<Value> {
    let part = options.get("Limit")?;
    let limit = read(&part, notes);
    if limit.is_none() {
        notes.differs(&part.at, "no known Policy or no PermitLimit: it limits nothing");
    }
    limit
}

/// `None`: it is no limit at all.
fn read(part: &Part<'_>, notes: &mut Notes) -> Option<Value> {
    part.strangers(&FIELDS, notes);
    let word = part.text("Policy", notes)?;
    let (_, policy) = POLICIES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word.trim()))?;
    let mut limit = json!({ "policy": policy });
    by(part, &mut limit, notes);
    for (name, ours, least, most) in NUMBERS {
        let Some(number) = part.number::<i64>(name, notes) else { continue };
        if number < least {
            if name != "PermitLimit" {
                notes.lost(&part.at_of(name), format!("{number} is less than {least}"));
            }
            continue;
        }
        if number > most {
            notes.lost(&part.at_of(name), format!("{number} is more than {most}, which is taken"));
        }
        limit.put(ours, number.min(most));
    }
    if let Some(window) = part.span("Window", notes) {
        limit.put("window", window);
    }
    limit.get("permit_limit").is_some().then_some(limit)
}

fn by(part: &Part<'_>, limit: &mut Value, notes: &mut Notes) {
    let names = [("header", part.text("Header", notes)), ("cookie", part.text("Cookie", notes))];
    match part.text("By", notes).map(str::trim) {
        None => return,
        Some(word) if word.eq_ignore_ascii_case("Total") => return,
        Some(word) if word.eq_ignore_ascii_case("Key") => limit.put("by", "key"),
        Some(word) => {
            let why = format!("{word} is neither Total nor Key: there is one count for all");
            return if word.eq_ignore_ascii_case("RedisConcurrency") {
                notes.lost(&part.at_of("By"), "one count in Redis for all instances is not served");
            } else {
                notes.differs(&part.at_of("By"), why);
            };
        }
    }
    if names.iter().all(|(_, name)| name.is_none()) {
        notes.differs(&part.at_of("By"), "neither Header nor Cookie: the key is the client's address; VKProxy limits nothing then");
    }
    for (field, name) in names {
        if let Some(name) = name {
            limit.put(field, name);
        }
    }
}
