//! An HTTP route object. Its statement is compiled, and its transforms are read, where their meaning is known, not here.

use std::sync::Arc;

use serde_json::Value;

use super::fields::{Fields, Found, Least};
use super::limit;
use super::secrets::Secrets;
use super::stream_route::target;
use crate::base::id::Id;
use crate::model::{Case, HttpRoute, RouteMatch, TransformSpec};

pub(super) fn read(id: Id, fields: &Fields<'_>, secrets: &Secrets, found: &mut Found) -> HttpRoute {
    HttpRoute {
        id,
        matching: fields.object("match").map(|inner| matching(&inner, found)).unwrap_or_default(),
        order: fields.number("order", found).unwrap_or(0),
        upstream: target(fields, secrets, found),
        timeout: fields.duration("timeout", Least::AboveZero, found),
        max_body_size: fields.number("max_body_size", found),
        transforms: fields.each("transforms").into_iter().map(|(_, element)| transform(element)).collect(),
        limit: limit::read(fields, found),
        enabled: fields.enabled(),
    }
}

fn matching(fields: &Fields<'_>, found: &mut Found) -> RouteMatch {
    let texts =
        |name| -> Vec<String> { fields.each(name).into_iter().filter_map(|(_, value)| value.as_str()).map(str::to_owned).collect() };
    for (at, value) in fields.each("hosts") {
        host(&at, value.as_str().unwrap_or_default(), found);
    }
    let statement = fields.text("statement").filter(|text| !text.trim_ascii().is_empty());
    let case = match fields.text("case") {
        Some("paths") => Case::Paths,
        Some("hosts_and_paths") => Case::HostsAndPaths,
        _ => Case::Ignored,
    };
    RouteMatch { hosts: texts("hosts"), paths: texts("paths"), case, methods: texts("methods"), statement: statement.map(Arc::from) }
}

/// What can be in no `Host` line would make a route that is never matched: a mistake worth saying.
fn host(at: &str, text: &str, found: &mut Found) {
    let hint = match text {
        _ if text.contains("://") => "without the scheme",
        _ if text.contains('/') => "without a path",
        _ if !text.is_ascii() => "in its ASCII form (xn--…)",
        _ if text.contains(|c: char| c.is_ascii_whitespace() || c.is_ascii_control()) => "without spaces",
        _ => return,
    };
    found.add(at, "host", format!("invalid host {text}: write it {hint}"));
}

/// The schema lets only objects of texts, booleans and numbers pass.
fn transform(element: &Value) -> TransformSpec {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    element.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::tests::meaningless;
    use super::*;
    use crate::base::id::Kind;
    use crate::model::UpstreamRef;

    fn route(value: &Value) -> HttpRoute {
        let mut found = Found::default();
        let route = read(Id::parse("1").unwrap(), &Fields::new(value.as_object().unwrap(), ""), &Secrets::default(), &mut found);
        assert!(found.is_empty(), "{:?}", found.into_vec());
        route
    }

    #[test]
    fn an_empty_route_matches_all_and_leads_nowhere() {
        let r = route(&json!({}));
        assert_eq!((&r.matching, r.order, &r.upstream, r.enabled), (&RouteMatch::default(), 0, &UpstreamRef::None, true));
    }

    #[test]
    fn every_field_is_read() {
        let r = route(&json!({
            "match": {"hosts": ["a.com", "*.b.org:80"], "paths": ["/a*"], "methods": ["GET", "post"], "statement": "Path = '/a'"},
            "order": -7, "upstream_id": "u", "timeout": "11s", "max_body_size": 1000, "status": 0, "metadata": {"a": [1]}, "name": "n",
            "transforms": [{"PathPrefix": "/x"}, {"RequestHeadersCopy": false, "n": 1}],
        }));
        assert_eq!(r.matching.hosts, ["a.com", "*.b.org:80"]);
        assert_eq!(r.matching.paths, ["/a*"]);
        assert_eq!(r.matching.methods, ["GET", "post"]);
        assert_eq!(r.matching.statement.as_deref(), Some("Path = '/a'"));
        assert_eq!((r.order, r.timeout, r.enabled), (-7, Some(Duration::from_secs(11)), false));
        assert_eq!(r.max_body_size, Some(1000));
        assert_eq!(r.upstream, UpstreamRef::Id(Id::parse("u").unwrap()));
        let pairs = |spec: &TransformSpec| spec.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();
        assert_eq!(r.transforms.iter().map(pairs).collect::<Vec<_>>(), [vec!["PathPrefix=/x"], vec!["RequestHeadersCopy=false", "n=1"]]);
    }

    #[test]
    fn a_blank_statement_is_none() {
        assert_eq!(route(&json!({"match": {"statement": " \n"}})).matching.statement, None);
        let case = |word| route(&json!({"match": {"case": word}})).matching.case;
        assert_eq!(["ignored", "paths", "hosts_and_paths"].map(case), [Case::Ignored, Case::Paths, Case::HostsAndPaths]);
    }

    #[test]
    fn a_statement_that_does_not_parse_is_shown_with_line_and_column() {
        let (path, rule, message) = meaningless(Kind::Route, &json!({"match": {"statement": "Method = 'GET'\n and Path = x"}}));
        assert_eq!((path.as_str(), rule.as_str()), ("/match/statement", "statement"));
        assert_eq!(message, "invalid match.statement: line 2, column 13: a field is compared with a value: put x in quotes");
    }

    #[test]
    fn a_host_that_no_request_can_have_is_refused() {
        for (host, says) in [
            ("http://a.com", "invalid host http://a.com: write it without the scheme"),
            ("a.com/x", "invalid host a.com/x: write it without a path"),
            ("ü.de", "invalid host ü.de: write it in its ASCII form (xn--…)"),
            ("a b", "invalid host a b: write it without spaces"),
        ] {
            let (path, rule, message) = meaningless(Kind::Route, &json!({"match": {"hosts": ["ok", host]}}));
            assert_eq!((path.as_str(), rule.as_str(), message.as_str()), ("/match/hosts/1", "host", says));
        }
    }

    #[test]
    fn a_route_stands_for_a_bounded_number_of_pairs() {
        let many = |n: usize| (0..n).map(|i| format!("/{i}")).collect::<Vec<_>>();
        let hosts: Vec<_> = (0..300).map(|i| format!("h{i}")).collect();
        assert_eq!(meaningless(Kind::Route, &json!({"match": {"hosts": hosts, "paths": many(300)}})).1, "too_many_pairs");
    }
}
