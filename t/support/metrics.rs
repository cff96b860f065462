//! One scrape of `/metrics`, and questions to it.

use std::collections::BTreeMap;

/// One sample: its name, labels and value.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Everything that one scrape returned.
#[derive(Debug)]
pub struct Scrape(Vec<Sample>);

impl Scrape {
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).map(sample).collect())
    }

    /// The sum over all samples of a name that have these labels; 0 where there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|s| s.value).sum()
    }

    /// Whether there is a sample of this name with these labels.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = &'a Sample> {
        let fits = move |s: &Sample| labels.iter().all(|(k, v)| s.labels.get(*k).is_some_and(|x| x == v));
        self.0.iter().filter(move |s| s.name == name && fits(s))
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
    let (name, labels) = series.split_once('{').map_or((series, ""), |(n, l)| (n, l.trim_end_matches('}')));
    let labels = labels.split("\",").filter_map(|pair| pair.split_once("=\""));
    Sample {
        name: name.into(),
        labels: labels.map(|(k, v)| (k.to_owned(), v.trim_end_matches('"').to_owned())).collect(),
        value: value.parse().unwrap_or_else(|_| panic!("no number: {line}")),
    }
}

mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name_and_labels() {
        let scrape = Scrape::parse("# HELP a b\na{x=\"1\",y=\"\"} 2\na{x=\"2\",y=\"z, w\"} 3\nb 1e3\n");
        assert_eq!(scrape.sum("a", &[]).to_bits(), 5f64.to_bits());
        assert_eq!(scrape.sum("a", &[("y", "")]).to_bits(), 2f64.to_bits());
        assert_eq!(scrape.sum("a", &[("y", "z, w")]).to_bits(), 3f64.to_bits());
        assert_eq!(scrape.sum("b", &[]).to_bits(), 1000f64.to_bits());
        assert!(!scrape.has("a", &[("x", "3")]));
    }
}
