//! All modules of the crate together: where a path leads, through aliases, re-exports and globs, and which rooms it passes.

use std::collections::{BTreeMap, BTreeSet};

use super::scan::{self, Binding, FileFacts, Module};

/// The crate as the layer test sees it.
#[derive(Debug, Default)]
pub struct House {
    modules: BTreeMap<Vec<String>, Module>,
    escapes: Vec<String>,
}

/// How many bindings one path may lead through; more is a circle.
const DEEPEST: usize = 16;

/// Where a path leads: the rooms that it passes and the last absolute path; `None` outside the crate.
struct Lead {
    rooms: BTreeSet<String>,
    end: Option<Vec<String>>,
}

impl Lead {
    fn outside() -> Self {
        Self { rooms: BTreeSet::new(), end: None }
    }

    fn at(path: Vec<String>) -> Self {
        Self { rooms: path.first().cloned().into_iter().collect(), end: Some(path) }
    }
}

impl House {
    /// Builds the house from (path below `src`, source) pairs.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut house = Self::default();
        for (name, source) in files {
            let FileFacts { modules, escapes, .. } = scan::file(&module_path(name), name, source);
            house.escapes.extend(escapes.into_iter().map(|(line, what)| format!("{name}:{line}: {what} hides what a file imports")));
            for (path, module) in modules {
                let place = house.modules.entry(path).or_default();
                place.items.extend(module.items);
                place.bindings.extend(module.bindings);
                place.mentions.extend(module.mentions);
                place.file = module.file;
                place.test |= module.test;
            }
        }
        house
    }

    /// The rooms that exist: the first segments of all module paths.
    pub fn rooms(&self) -> BTreeSet<String> {
        self.modules.keys().filter_map(|path| path.first().cloned()).collect()
    }

    /// Every import that the table forbids, as `file:line: what`. `allowed` answers whether a room may import another.
    pub fn violations(&self, allowed: &dyn Fn(&str, &str) -> bool) -> Vec<String> {
        let mut found = self.escapes.clone();
        for (scope, module) in &self.modules {
            let Some(room) = scope.first() else { continue };
            let named = module.bindings.iter().map(|b| (&b.path, b.line, b.name.is_none()));
            let mentioned = module.mentions.iter().map(|m| (&m.path, m.line, false));
            for (path, line, glob) in named.chain(mentioned) {
                let lead = self.follow(scope, path, 0, Some(line));
                let place = format!("{}:{line}: {}", module.file, path.join("::"));
                if glob && lead.end.as_ref().is_some_and(Vec::is_empty) && !allowed(room, "") {
                    found.push(format!("{place}: a glob of the crate root imports every room"));
                }
                let known = |r: &&String| self.modules.contains_key(&vec![(*r).clone()]);
                for other in lead.rooms.iter().filter(|r| *r != room) {
                    if !known(&other) {
                        found.push(format!("{place}: {other} is no room"));
                    } else if !allowed(room, other) {
                        found.push(format!("{place}: {room} may not import {other}"));
                    }
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// Follows a path as written in `scope`. A binding at line `own` is the one being resolved and does not lead to itself.
    fn follow(&self, scope: &[String], path: &[String], depth: usize, own: Option<usize>) -> Lead {
        let Some((head, rest)) = path.split_first() else { return Lead::outside() };
        if depth > DEEPEST {
            return Lead::outside();
        }
        let start = match head.as_str() {
            "crate" => Lead::at(Vec::new()),
            "self" => Lead::at(scope.to_vec()),
            "super" => Lead::at(scope[..scope.len().saturating_sub(1)].to_vec()),
            _ => self.enter(scope, head, depth, own).unwrap_or_else(Lead::outside),
        };
        self.walk(start, rest, depth)
    }

    fn walk(&self, mut lead: Lead, rest: &[String], depth: usize) -> Lead {
        for segment in rest {
            let Some(here) = lead.end.take() else { return lead };
            let next = match segment.as_str() {
                "super" => Lead::at(here[..here.len().saturating_sub(1)].to_vec()),
                "self" => Lead::at(here),
                _ => self.enter(&here, segment, depth, None).unwrap_or_else(|| {
                    let mut path = here.clone();
                    path.push(segment.clone());
                    Lead::at(path)
                }),
            };
            lead.rooms.extend(next.rooms);
            lead.end = next.end;
        }
        lead
    }

    /// What `name` is inside module `here`: a child, something brought in by name, or through a glob. `None`: nothing of ours.
    fn enter(&self, here: &[String], name: &str, depth: usize, own: Option<usize>) -> Option<Lead> {
        let mut child = here.to_vec();
        child.push(name.into());
        let module = self.modules.get(here);
        let declared = module.is_some_and(|m| m.items.iter().any(|i| i == name));
        if declared || self.modules.contains_key(&child) {
            return Some(Lead::at(child));
        }
        let bindings = || module.into_iter().flat_map(|m| m.bindings.iter()).filter(|b| Some(b.line) != own || b.path.len() > 1);
        let by_name = bindings().find(|b| b.name.as_deref() == Some(name) && !leads_to_itself(b, name));
        if let Some(binding) = by_name {
            return Some(self.follow(here, &binding.path, depth + 1, Some(binding.line)));
        }
        for glob in bindings().filter(|b| b.name.is_none()) {
            let target = self.follow(here, &glob.path, depth + 1, Some(glob.line));
            let Some(end) = target.end.as_deref().filter(|end| *end != here && depth < DEEPEST) else { continue };
            if let Some(mut lead) = self.enter(end, name, depth + 1, None) {
                lead.rooms.extend(target.rooms);
                return Some(lead);
            }
        }
        None
    }
}

/// `use name::…::name`: the head is an outside crate, not the name that it brings in.
fn leads_to_itself(binding: &Binding, name: &str) -> bool {
    binding.path.first().is_some_and(|head| head == name)
}

/// The module path of a file below `src`: `a/b.rs` is `a::b`, `a/mod.rs` is `a`, `lib.rs` is the root.
pub fn module_path(file: &str) -> Vec<String> {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let mut path: Vec<String> = stem.split('/').map(ToOwned::to_owned).collect();
    if path.last().is_some_and(|p| p == "mod") || path == ["lib"] {
        path.pop();
    }
    path
}
