//! What we ship for watching, taken apart: dashboards, alerts, and the metrics that the documentation lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
pub fn text(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A YAML file of the repository.
pub fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&text(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The dashboards that we ship, by file name without its end.
pub fn dashboards() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("conf/grafana/dashboards")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.extension().unwrap(), "json", "{}", path.display());
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        found.push((name, serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap()));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// The panels that show something.
pub fn panels(dashboard: &Value) -> Vec<&Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row").collect()
}

/// The expressions of a panel, as they are written.
pub fn expressions(panel: &Value) -> Vec<String> {
    panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// An expression as Grafana sends it when everything is chosen.
pub fn substituted(expression: &str) -> String {
    let mut text = expression.to_owned();
    for (from, to) in
        [("$__rate_interval", "8s"), ("$__range", "60s"), ("$instance", ".*"), ("$kind", ".*"), ("$route", ".*"), ("$listener", ".*")]
    {
        text = text.replace(from, to);
    }
    assert!(!text.contains('$'), "{text}");
    text
}

/// Every alert: its name and its expression.
pub fn alerts() -> Vec<(String, String)> {
    let all = yaml("conf/prometheus/alerts.yml");
    let groups = all["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    rules.map(|rule| (rule["alert"].as_str().unwrap().to_owned(), rule["expr"].as_str().unwrap().to_owned())).collect()
}

/// The long-lived tasks that the program starts, by name.
pub fn tasks() -> BTreeSet<String> {
    fn sources(dir: &Path, found: &mut String) {
        for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                sources(&entry, found);
            } else {
                // tests stand at the end of a file
                found.push_str(fs::read_to_string(&entry).unwrap().split("#[cfg(test)]").next().unwrap());
            }
        }
    }
    let mut all = String::new();
    sources(&root().join("src"), &mut all);
    let names: BTreeSet<String> =
        Regex::new(r#"supervise\(\s*"([a-z_]+)""#).unwrap().captures_iter(&all).map(|found| found[1].to_owned()).collect();
    assert!(names.len() >= 4, "{names:?}");
    names
}

/// The metrics that docs/METRICS.md lists, with their labels.
pub fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = text("docs/METRICS.md");
    let mut known = BTreeMap::new();
    for line in page.lines().filter(|l| l.starts_with("| `sluice_")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, _] = cells[..] else { panic!("{line}") };
        let labels: BTreeSet<String> = labels.split(',').map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect();
        let name = name.trim_matches('`');
        known.insert(name.to_owned(), labels.clone());
        if kind == "histogram" {
            for part in ["bucket", "count", "sum"] {
                known.insert(format!("{name}_{part}"), labels.clone());
            }
        }
    }
    for found in Regex::new("`(process_[a-z_]+)`").unwrap().captures_iter(&page) {
        known.insert(found[1].to_owned(), BTreeSet::new());
    }
    assert!(known.len() > 30, "{known:?}");
    known
}

/// The metrics that an expression names, each with the labels that it asks for.
pub fn named(expression: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    let metric = Regex::new(r"\b((?:sluice|process)_[a-z0-9_]+|up)\b(?:\{([^}]*)\})?").unwrap();
    let label = Regex::new(r#"([a-z_]+)\s*(?:=~|!~|!=|=)\s*""#).unwrap();
    for each in metric.captures_iter(expression) {
        let labels = found.entry(each[1].to_owned()).or_default();
        let matchers = each.get(2).map_or("", |m| m.as_str());
        labels.extend(label.captures_iter(matchers).map(|l| l[1].to_owned()));
    }
    found
}

/// What an expression names and nobody knows.
pub fn unknown(expression: &str, known: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    // these Prometheus adds by itself
    let added = ["instance", "job", "le"];
    let mut wrong = Vec::new();
    for (name, labels) in named(expression) {
        match known.get(&name) {
            None if name != "up" => wrong.push(name),
            None => {}
            Some(has) => {
                let strange = labels.iter().filter(|l| !added.contains(&l.as_str()) && !has.contains(*l));
                wrong.extend(strange.map(|l| format!("{name}{{{l}}}")));
            }
        }
    }
    wrong
}

mod tests {
    use super::*;

    #[test]
    fn a_name_or_a_label_that_there_is_not_is_found() {
        let known = documented();
        for (expression, wrong) in [
            ("sum by (route) (rate(sluice_bytes_total{direction=\"in\", route=~\".*\"}[5m])) / up{job=\"x\"}", vec![]),
            ("histogram_quantile(0.9, rate(sluice_config_apply_seconds_bucket{le=\"1\"}[5m]))", vec![]),
            ("sluice_byte_total", vec!["sluice_byte_total"]),
            ("sluice_bytes_total{listener=\"a\"}", vec!["sluice_bytes_total{listener}"]),
            ("process_open_fd / sluice_ready", vec!["process_open_fd"]),
        ] {
            assert_eq!(unknown(expression, &known), wrong, "{expression}");
        }
    }
}
