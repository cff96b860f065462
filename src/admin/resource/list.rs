//! `GET <kind>`: all objects of a kind, filtered first and paged second.

use regex::Regex;
use serde_json::{Value, json};

use super::super::envelope::{Answer, item, shown, value_of};
use super::super::query::Query;
use super::Ask;
use crate::base::id::Kind;
use crate::store::Entry;

/// The fields that `filter=` looks at.
const FILTERABLE: [&str; 2] = ["service_id", "upstream_id"];

/// `{"list": …, "total": …}`; the total is the number after filtering and before paging. Key order, or with paging by age.
pub(super) async fn list(ask: &Ask<'_>) -> Result<Answer, Answer> {
    let parts = &ask.admin.parts;
    let page = ask.query.page()?;
    let filter = Filter::read(ask.query, ask.kind)?;
    let under = format!("{}/{}/", parts.prefix, ask.kind.dir());
    let entries = parts.store.list(&under).await?.entries;
    let objects = entries.into_iter().filter(|entry| is_object(entry, &under)).map(|entry| {
        let value = value_of(&entry);
        (entry, value)
    });
    let mut found: Vec<(Entry, Value)> = objects.filter(|(_, value)| filter.lets(value)).collect();
    let total = found.len();
    if let Some(page) = page {
        found.sort_by_key(|(entry, _)| entry.created);
        found = page.of(found);
    }
    let items: Vec<Value> = found.into_iter().map(|(entry, value)| item(&entry, shown(ask.kind, value))).collect();
    Ok(Answer::ok(&json!({ "list": items, "total": total })))
}

/// APISIX's place holders for empty kinds are not objects.
fn is_object(entry: &Entry, under: &str) -> bool {
    entry.key.len() > under.len() && entry.value.as_ref() != b"init_dir"
}

/// What objects are asked for.
struct Filter<'a> {
    name: Option<Regex>,
    label: Option<&'a str>,
    fields: Vec<(String, String)>,
}

impl<'a> Filter<'a> {
    fn read(query: &'a Query, kind: Kind) -> Result<Self, Answer> {
        let name = query.get("name").map(Regex::new).transpose();
        let name = name.map_err(|_| Answer::bad("invalid argument name: should be a regular expression"))?;
        let fields = query.get("filter").filter(|_| matches!(kind, Kind::StreamRoute | Kind::Route)).unwrap_or_default();
        let fields = Query::parse(fields);
        let fields = fields.iter().filter(|(field, _)| FILTERABLE.contains(field)).map(|(field, wanted)| (field.into(), wanted.into()));
        Ok(Self { name, label: query.get("label"), fields: fields.collect() })
    }

    fn lets(&self, value: &Value) -> bool {
        // an object without a name is found by the word that Lua has for nothing
        let name = value.get("name").and_then(Value::as_str).unwrap_or("nil");
        let label = |key: &str| value.get("labels").and_then(|labels| labels.get(key)).is_some();
        let field = |(field, wanted): &(String, String)| value.get(field).and_then(Value::as_str) == Some(wanted);
        self.name.as_ref().is_none_or(|wanted| wanted.is_match(name)) && self.label.is_none_or(label) && self.fields.iter().all(field)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fake::Fake;
    use serde_json::{Value, json};

    /// The ids that a query finds, and the total.
    async fn found(fake: &Fake, uri: &str) -> (Vec<String>, u64) {
        let (status, body) = fake.ask("GET", uri, "").await;
        assert_eq!(status, 200, "{body}");
        let items = body["list"].as_array().unwrap();
        (items.iter().map(|item| item["value"]["id"].as_str().unwrap().to_owned()).collect(), body["total"].as_u64().unwrap())
    }

    fn eleven() -> Fake {
        let fake = Fake::new();
        for n in 1..=11 {
            let upstream = if n % 2 == 0 { json!("1") } else { json!(1) };
            let value = json!({ "id": n.to_string(), "name": n.to_string(), "upstream_id": upstream });
            fake.store.seed(&format!("/sluice/stream_routes/{n}"), &value.to_string());
        }
        fake
    }

    #[tokio::test]
    async fn an_empty_list_is_exactly_this() {
        let fake = Fake::new();
        assert_eq!(fake.ask("GET", "/apisix/admin/upstreams", "").await, (200, json!({ "list": [], "total": 0 })));
        fake.store.seed("/sluice/upstreams/", "init_dir");
        fake.store.seed("/sluice/upstreams2/1", "{}");
        assert_eq!(fake.ask("GET", "/apisix/admin/upstreams", "").await, (200, json!({ "list": [], "total": 0 })));
    }

    #[tokio::test]
    async fn items_have_their_key_value_and_indexes_and_the_body_nothing_else() {
        let fake = Fake::new();
        fake.store.seed("/sluice/upstreams/1", r#"{"id":"1"}"#);
        let (_, body) = fake.ask("GET", "/apisix/admin/upstreams", "").await;
        let item = json!({ "key": "/sluice/upstreams/1", "value": { "id": "1" }, "createdIndex": 1, "modifiedIndex": 1 });
        assert_eq!(body, json!({ "list": [item], "total": 1 }));
    }

    #[tokio::test]
    async fn pages_are_sorted_by_age_and_the_whole_by_key() {
        let fake = eleven();
        let all = found(&fake, "/apisix/admin/stream_routes").await;
        assert_eq!((all.0.join(" ").as_str(), all.1), ("1 10 11 2 3 4 5 6 7 8 9", 11));
        let first = found(&fake, "/apisix/admin/stream_routes?page=1&page_size=10").await;
        assert_eq!((first.0.join(" ").as_str(), first.1), ("1 2 3 4 5 6 7 8 9 10", 11));
        assert_eq!(found(&fake, "/apisix/admin/stream_routes?page=2&page_size=10").await, (vec!["11".into()], 11));
        assert_eq!(found(&fake, "/apisix/admin/stream_routes?page=10&page_size=10").await, (vec![], 11));
        let told = fake.ask("GET", "/apisix/admin/stream_routes?page=1&page_size=2", "").await;
        assert_eq!(told, (400, Value::from("page_size must be between 10 and 500")));
    }

    #[tokio::test]
    async fn names_are_found_by_a_regular_expression_before_paging() {
        let fake = eleven();
        for uri in ["/apisix/admin/stream_routes?name=1", "/apisix/admin/stream_routes?name=1&page=1&page_size=10"] {
            let (mut ids, total) = found(&fake, uri).await;
            ids.sort();
            assert_eq!((ids.join(" ").as_str(), total), ("1 10 11", 3), "{uri}");
        }
        assert_eq!(fake.ask("GET", "/apisix/admin/stream_routes?name=(", "").await.0, 400);
    }

    #[tokio::test]
    async fn labels_are_found_by_their_exact_key() {
        let fake = Fake::new();
        fake.store.seed("/sluice/upstreams/1", r#"{"id":"1","labels":{"env":"production"}}"#);
        fake.store.seed("/sluice/upstreams/2", r#"{"id":"2"}"#);
        for (label, ids) in [("env", vec!["1"]), ("production", vec![]), ("en", vec![]), ("", vec![])] {
            assert_eq!(found(&fake, &format!("/apisix/admin/upstreams?label={label}")).await.0, ids, "{label}");
        }
    }

    #[tokio::test]
    async fn a_filter_compares_strings_and_ignores_fields_that_it_does_not_know() {
        let fake = eleven();
        let (ids, total) = found(&fake, "/apisix/admin/stream_routes?filter=upstream_id%3D1").await;
        assert_eq!((ids.join(" ").as_str(), total), ("10 2 4 6 8", 5));
        assert_eq!(found(&fake, "/apisix/admin/stream_routes?filter=upstream_id%3D1%26service_id%3D1").await.1, 0);
        assert_eq!(found(&fake, "/apisix/admin/stream_routes?filter=name%3D1").await.1, 11);
    }
}
