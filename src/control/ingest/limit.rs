//! The `limit` of a route or of `settings/global`. The words are read without case and underscores, as `VKProxy` does; a limit that
//! could only mean none, or that is half filled, is refused and never taken for none.

use std::sync::Arc;
use std::time::Duration;

use super::fields::{Fields, Found, Least};
use crate::base::nearest;
use crate::base::quota::{Policy, Scope};
use crate::model::{By, KeySource, Limit, Pace, RouteLimit};

/// The window where none is given.
const WINDOW: Duration = Duration::from_secs(600);
/// The segments of a sliding window where none are given.
const SEGMENTS: u16 = 2;
/// The policy that is none.
const NONE: &str = "none";

/// What an object says of limits in its field `limit`.
pub(super) fn read(fields: &Fields<'_>, found: &mut Found) -> RouteLimit {
    let Some(limit) = fields.object("limit") else { return RouteLimit::Global };
    let words: Vec<&'static str> = Policy::ALL.into_iter().map(Policy::as_str).chain([NONE]).collect();
    // everything is read even where one thing is wrong already: all mistakes are told at once
    let policy = word(&limit, "policy", &words, found);
    let by = by(&limit, found);
    let permits = count(&limit, "permit_limit", found);
    let scope = word(&limit, "scope", &Scope::ALL.map(Scope::as_str), found);
    let queue = limit.number("queue_limit", found).unwrap_or(0);
    let times = Numbers {
        window: limit.duration("window", Least::AboveZero, found).unwrap_or(WINDOW),
        segments: limit.number("segments_per_window", found).unwrap_or(SEGMENTS),
        tokens: count(&limit, "tokens_per_period", found),
    };
    let Some(word) = policy else { return RouteLimit::Exempt };
    let Some(policy) = Policy::ALL.into_iter().find(|p| p.as_str() == word) else { return RouteLimit::Exempt };
    if limit.get("permit_limit").is_none() {
        found.add(limit.at("permit_limit"), "required", format!("\"permit_limit\" is required by the policy {policy}"));
    }
    let Some(permits) = permits else { return RouteLimit::Exempt };
    let scope = Scope::ALL.into_iter().find(|s| Some(s.as_str()) == scope).unwrap_or_default();
    RouteLimit::Own(Arc::new(Limit { pace: times.pace(policy, permits), by, permits, queue, scope }))
}

struct Numbers {
    window: Duration,
    segments: u16,
    tokens: Option<u32>,
}

impl Numbers {
    fn pace(&self, policy: Policy, permits: u32) -> Pace {
        match policy {
            Policy::Concurrency => Pace::Concurrency,
            Policy::FixedWindow => Pace::FixedWindow { window: self.window },
            Policy::SlidingWindow => Pace::SlidingWindow { window: self.window, segments: self.segments },
            Policy::TokenBucket => Pace::TokenBucket { period: self.window, tokens: self.tokens.unwrap_or(permits) },
        }
    }
}

/// A number from 1; what the schema lets pass is one, or too large.
fn count(limit: &Fields<'_>, name: &str, found: &mut Found) -> Option<u32> {
    limit.number(name, found)
}

/// One of some words, in any case and with or without its underscores.
fn word(limit: &Fields<'_>, name: &str, words: &[&'static str], found: &mut Found) -> Option<&'static str> {
    let text = limit.text(name)?;
    let bare = |s: &str| s.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect::<String>();
    let known = words.iter().copied().find(|word| bare(word) == bare(text));
    if known.is_none() {
        let hint = nearest::nearest(text, words.iter().copied()).map(|near| format!(", did you mean {near}?")).unwrap_or_default();
        found.add(limit.at(name), "enum", format!("\"{text}\" is not one of {}{hint}", words.join(", ")));
    }
    known
}

/// A header wins over a cookie. A blank name is none, and then the client is the key.
fn by(limit: &Fields<'_>, found: &mut Found) -> By {
    let named = |name| limit.text(name).filter(|text| !text.trim().is_empty());
    match word(limit, "by", &["total", "key"], found) {
        Some("key") => By::Key(match (named("header"), named("cookie")) {
            (Some(header), _) => KeySource::Header(header.to_ascii_lowercase().into()),
            (None, Some(cookie)) => KeySource::Cookie(cookie.into()),
            (None, None) => KeySource::Client,
        }),
        Some(_) | None => By::Total,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{accepted, meaningless};
    use super::*;
    use crate::base::id::Kind;
    use crate::model::Resource;

    fn route(limit: &Value) -> RouteLimit {
        let Resource::StreamRoute(route) = accepted(Kind::StreamRoute, &json!({ "limit": limit })) else { panic!("another kind") };
        route.limit.clone()
    }

    fn own(limit: &Value) -> Limit {
        let RouteLimit::Own(limit) = route(limit) else { panic!("{limit} is no limit") };
        (*limit).clone()
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let least = own(&json!({"policy": "concurrency", "permit_limit": 10}));
        let concurrency = Limit { pace: Pace::Concurrency, by: By::Total, permits: 10, queue: 0, scope: Scope::Instance };
        assert_eq!(least, concurrency);
        let pace = |policy: &str| own(&json!({"policy": policy, "permit_limit": 7})).pace;
        assert_eq!(pace("fixed_window"), Pace::FixedWindow { window: WINDOW });
        assert_eq!(pace("sliding_window"), Pace::SlidingWindow { window: WINDOW, segments: 2 });
        assert_eq!(pace("token_bucket"), Pace::TokenBucket { period: WINDOW, tokens: 7 });
    }

    #[test]
    fn every_field_is_read_and_those_of_other_policies_are_harmless() {
        let all = own(&json!({
            "policy": "token_bucket", "by": "key", "header": "X-Forwarded-For", "cookie": "sid", "permit_limit": 90.0, "queue_limit": 5,
            "window": "00:00:01", "segments_per_window": 3, "tokens_per_period": 30, "scope": "cluster",
        }));
        assert_eq!(
            all,
            Limit {
                pace: Pace::TokenBucket { period: Duration::from_secs(1), tokens: 30 },
                by: By::Key(KeySource::Header("x-forwarded-for".into())),
                permits: 90,
                queue: 5,
                scope: Scope::Cluster,
            }
        );
        let by = |fields: Value| {
            let mut limit = json!({"policy": "concurrency", "permit_limit": 1, "by": "key"});
            limit.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            own(&limit).by
        };
        assert_eq!(by(json!({"cookie": "Sid"})), By::Key(KeySource::Cookie("Sid".into())));
        assert_eq!(by(json!({"header": " ", "cookie": ""})), By::Key(KeySource::Client));
        assert_eq!(by(json!({"by": "total", "header": "a"})), By::Total);
    }

    #[test]
    fn words_are_read_as_vkproxy_writes_them() {
        for policy in ["FixedWindow", "fixedwindow", "FIXED_WINDOW"] {
            let limit = own(&json!({"policy": policy, "permit_limit": 1, "by": "Total", "window": "00:00:10"}));
            assert_eq!(limit.pace, Pace::FixedWindow { window: Duration::from_secs(10) });
        }
        assert_eq!(route(&json!({"policy": "None"})), RouteLimit::Exempt);
        assert_eq!(route(&json!({"policy": "none", "permit_limit": 1})), RouteLimit::Exempt);
    }

    #[test]
    fn a_mistake_is_told_and_never_taken_for_no_limit() {
        for (limit, path, rule, says) in [
            (
                json!({"policy": "concurency", "permit_limit": 1}),
                "/limit/policy",
                "enum",
                "\"concurency\" is not one of concurrency, fixed_window, sliding_window, token_bucket, none, did you mean concurrency?",
            ),
            (
                json!({"policy": "token_bucket"}),
                "/limit/permit_limit",
                "required",
                "\"permit_limit\" is required by the policy token_bucket",
            ),
            (json!({"policy": "none", "by": "ip"}), "/limit/by", "enum", "\"ip\" is not one of total, key"),
            (json!({"policy": "none", "scope": "fleet"}), "/limit/scope", "enum", "\"fleet\" is not one of instance, cluster"),
            (
                json!({"policy": "fixed_window", "permit_limit": 1, "window": "0s"}),
                "/limit/window",
                "duration",
                "invalid limit.window: must be longer than 0",
            ),
        ] {
            let got = meaningless(Kind::StreamRoute, &json!({ "limit": limit }));
            assert_eq!(got, (path.to_owned(), rule.to_owned(), says.to_owned()));
            assert_eq!(meaningless(Kind::Setting, &json!({ "limit": limit })).0, path);
        }
    }

    #[test]
    fn the_global_limit_is_one_too_and_none_is_none() {
        let global = |limit: Value| {
            let Resource::Global(global) = accepted(Kind::Setting, &json!({ "limit": limit })) else { panic!("another kind") };
            global.limit.as_ref().map(|limit| limit.permits)
        };
        assert_eq!(global(json!({"policy": "concurrency", "permit_limit": 3})), Some(3));
        assert_eq!(global(json!({"policy": "none"})), None);
    }
}
