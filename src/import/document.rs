//! The whole set of resources: which route becomes what, and which links there are between them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::cluster::Targets;
use super::file::{Entry, File};
use super::listen::{self, Listen, Speaks};
use super::note::Notes;
use super::put::Put as _;
use super::sni::{self, Sni};
use super::stream::Streams;
use super::{ReadFile, options, route};

/// The most objects that one transaction takes.
const MOST: usize = 128;

/// The document in the making.
pub(super) struct Document<'f, 'a, 'n> {
    file: &'f File<'a>,
    listens: Vec<Listen<'f, 'a>>,
    snis: Vec<Sni<'f, 'a>>,
    targets: Targets<'f, 'a>,
    streams: Streams,
    /// The stream routes by the name of the route, or of the Sni, that they come from.
    by_route: BTreeMap<&'a str, String>,
    by_sni: BTreeMap<&'a str, String>,
    routes: Vec<Value>,
    notes: &'n mut Notes,
}

impl<'f, 'a, 'n> Document<'f, 'a, 'n> {
    /// The body for `POST apply`.
    pub(super) fn of(file: &'f File<'a>, read_file: ReadFile<'_>, notes: &'n mut Notes) -> Value {
        let listens = listen::read(file, notes);
        let snis = sni::read(file, read_file, notes);
        let mut document = Document {
            file,
            listens,
            snis,
            targets: Targets::new(file),
            streams: Streams::default(),
            by_route: BTreeMap::new(),
            by_sni: BTreeMap::new(),
            routes: Vec::new(),
            notes,
        };
        document.of_listeners();
        document.of_names();
        document.of_http();
        document.rest();
        document.written()
    }

    /// Stream routes that listeners name.
    fn of_listeners(&mut self) {
        for route in &self.file.routes {
            let is = |listen: &&Listen<'_, '_>| listen.is_fixed() && listen.route.is_some_and(|named| named.key == route.key);
            let naming: Vec<&Listen<'f, 'a>> = self.listens.iter().filter(is).collect();
            if !naming.is_empty() {
                let id = self.streams.fixed(route, &naming, &mut self.targets, self.notes);
                self.by_route.insert(route.key, id);
            }
        }
    }

    /// Stream routes that names lead to. Where names are matched, one without a route closes its sessions.
    fn of_names(&mut self) {
        let matched = self.listens.iter().any(Listen::matches_names);
        for sni in &self.snis {
            let by_id = self.listens.iter().any(|l| l.speaks == Speaks::Tcp && l.sni.is_some_and(|entry| entry.key == sni.entry.key));
            if sni.route.is_some() || sni.passthrough || matched || by_id {
                let id = self.streams.named(sni, &mut self.targets, self.notes);
                self.by_sni.insert(sni.entry.key, id);
            }
        }
    }

    fn of_http(&mut self) {
        let only = self.only();
        for entry in &self.file.routes {
            let has_match = entry.part.get("Match").is_some();
            let is_only = only.is_some_and(|only| only.key == entry.key);
            if is_only || has_match && only.is_none() {
                self.routes.extend(route::http(entry, !is_only, &mut self.targets, self.notes));
            }
        }
        if options::is_ordinal(self.file) {
            for matching in self.routes.iter_mut().filter_map(|route| route.get_mut("match")) {
                matching.put("case", "hosts_and_paths");
            }
        }
        if only.is_none() {
            self.leave_out_bound();
        }
    }

    /// The route of all HTTP listeners, if they all name one route, and none has conditions that would then begin to count.
    fn only(&self) -> Option<&'f Entry<'a>> {
        let mut http = self.listens.iter().filter(|listen| matches!(listen.speaks, Speaks::Http(_)));
        let first = http.next()?.route?;
        let same = http.all(|listen| listen.route.is_some_and(|route| route.key == first.key));
        let others = self.file.routes.iter().any(|route| route.key != first.key && route.part.get("Match").is_some());
        (same && !others).then_some(first)
    }

    /// A listener cannot be bound to one HTTP route: it would serve the others too.
    fn leave_out_bound(&mut self) {
        self.listens.retain(|listen| {
            let bound = matches!(listen.speaks, Speaks::Http(_)) && listen.route.is_some();
            if bound {
                let why = "an HTTP listener has no fixed route here: it is left out, since it would serve all routes";
                self.notes.lost(&listen.entry.part.at_of("RouteId"), why);
            }
            !bound
        });
    }

    /// What nothing leads to, and limits that are counted apart.
    fn rest(&mut self) {
        for entry in &self.file.routes {
            let of_names = self.snis.iter().filter(|sni| sni.route.is_some_and(|route| route.key == entry.key)).count();
            let of_listeners = usize::from(self.by_route.contains_key(entry.key));
            let of_http = usize::from(self.routes.iter().any(|route| route.get("id").is_some_and(|id| *id == entry.id.as_str())));
            let named_by_http = self.file.listens.iter().any(|listen| {
                listen
                    .part
                    .get("RouteId")
                    .as_ref()
                    .and_then(super::part::Part::scalar)
                    .is_some_and(|name| super::json::same(name, entry.key))
            });
            let all = of_names + of_listeners + of_http;
            if all > 1 && entry.part.get("Limit").is_some() {
                self.notes.differs(&entry.part.at_of("Limit"), format!("the route becomes {all} objects, each with a count of its own"));
            }
            if all == 0 && entry.part.get("Match").is_none() {
                if named_by_http {
                    self.notes.lost(&entry.part.at, "only listeners that are left out lead to it");
                } else {
                    self.streams.unreached(entry, &mut self.targets, self.notes);
                }
            }
        }
    }

    fn written(self) -> Value {
        let ssls: Vec<Value> = self.snis.iter().filter_map(|sni| sni.ssl.clone()).collect();
        let listeners = self.listens.iter().map(|listen| self.listener(listen)).collect();
        let upstreams = self.targets.upstreams(self.notes);
        let settings = options::setting(self.file, self.notes).into_iter().collect();
        let kinds = [
            ("settings", settings),
            ("upstreams", upstreams),
            ("ssls", ssls),
            ("stream_routes", self.streams.made),
            ("routes", self.routes),
            ("listeners", listeners),
        ];
        let count: usize = kinds.iter().map(|(_, objects): &(&str, Vec<Value>)| objects.len()).sum();
        if count > MOST {
            self.notes.differs("", format!("{count} objects, more than the {MOST} that one POST apply takes: send them in parts"));
        }
        let put: Map<String, Value> =
            kinds.into_iter().filter(|(_, o)| !o.is_empty()).map(|(kind, o)| (kind.to_owned(), o.into())).collect();
        json!({ "put": put })
    }

    fn listener(&self, listen: &Listen<'_, '_>) -> Value {
        let sni = listen.sni.and_then(|entry| self.snis.iter().find(|sni| sni.entry.key == entry.key));
        let by_sni = listen.sni.filter(|_| listen.speaks == Speaks::Tcp).and_then(|entry| self.by_sni.get(entry.key));
        let by_route = listen.route.filter(|_| listen.is_fixed()).and_then(|route| self.by_route.get(route.key));
        let ssl = sni.and_then(|sni| sni.ssl.as_ref()).and_then(|ssl| ssl.get("id")?.as_str());
        listen.resource(by_route.or(by_sni).map(String::as_str), ssl)
    }
}
