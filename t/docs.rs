//! The documentation is true: its commands run, its examples are taken, its links lead somewhere, and its reference tables hold what
//! the code knows, no more and no less.

mod page;
mod reference;
mod run;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use sluice::base::id::{Id, Key, Kind};
use sluice::control::ingest::{Ingest, Verdict};
use sluice::schema::Schemas;

use crate::support::namespace;
use page::{Page, root};

/// The pages whose commands run, and the test that runs each.
const RUN: [(&str, &str); 6] = [
    ("README.md", "the_commands_of_the_readme_run"),
    ("docs/ADMIN-API.md", "the_commands_of_the_admin_page_run"),
    ("docs/CONFIGURATION.md", "the_commands_of_the_configuration_page_run"),
    ("docs/MIGRATE-FROM-APISIX.md", "the_commands_of_the_migration_page_run"),
    ("docs/MIGRATE-FROM-VKPROXY.md", "the_commands_of_the_vkproxy_page_run"),
    ("docs/OPERATIONS.md", "the_commands_of_the_operations_page_run"),
];

/// What a block may be. `sh` and `console` run, `yaml` is a configuration file, `json` with a kind behind it a resource.
const LANGUAGES: [&str; 5] = ["sh", "console", "yaml", "json", "text"];

fn run(page: &str) {
    let (_, test) = RUN.iter().find(|(p, _)| *p == page).unwrap();
    namespace::network_and_processes(&format!("docs::{test}"), || run::page(page));
}

#[test]
fn the_commands_of_the_readme_run() {
    run("README.md");
}

#[test]
fn the_commands_of_the_admin_page_run() {
    run("docs/ADMIN-API.md");
}

#[test]
fn the_commands_of_the_configuration_page_run() {
    run("docs/CONFIGURATION.md");
}

#[test]
fn the_commands_of_the_migration_page_run() {
    run("docs/MIGRATE-FROM-APISIX.md");
}

#[test]
fn the_commands_of_the_vkproxy_page_run() {
    run("docs/MIGRATE-FROM-VKPROXY.md");
}

#[test]
fn the_commands_of_the_operations_page_run() {
    run("docs/OPERATIONS.md");
}

#[test]
fn no_page_has_commands_that_nobody_runs() {
    for page in page::all() {
        for block in page.blocks() {
            assert!(LANGUAGES.contains(&block.language.as_str()), "{}:{}: a block of {:?}", page.name, block.line, block.language);
            let command = ["sh", "console"].contains(&block.language.as_str());
            assert!(!command || RUN.iter().any(|(name, _)| *name == page.name), "{}:{}", page.name, block.line);
        }
    }
}

#[test]
fn every_configuration_that_a_page_shows_is_taken() {
    let env = |name: &str| (!name.starts_with("SLUICE_")).then(|| "from-the-environment".to_owned());
    for page in page::all() {
        for block in page.blocks().iter().filter(|b| b.language == "yaml") {
            let at = format!("{}:{}", page.name, block.line);
            let conf = sluice::conf::parse(Path::new(&at), &block.text, &env).unwrap_or_else(|e| panic!("{e}"));
            let refusals = sluice::app::refusals(&conf);
            assert_eq!(refusals.is_empty(), block.mark != "refused", "{at}: {refusals:?}");
        }
    }
}

#[test]
fn every_resource_that_a_page_shows_is_taken() {
    let ingest = Ingest::new(Arc::new(Schemas::compile().unwrap()));
    for page in page::all() {
        for block in page.blocks().iter().filter(|b| b.language == "json") {
            let at = format!("{}:{}", page.name, block.line);
            let value: Value = serde_json::from_str(&block.text).unwrap_or_else(|e| panic!("{at}: {e}"));
            if block.mark.is_empty() {
                continue;
            }
            let kind = Kind::ALL.into_iter().find(|k| k.singular() == block.mark).unwrap_or_else(|| panic!("{at}: kind {:?}", block.mark));
            let id = value["id"].as_str().unwrap_or(if kind == Kind::Setting { "global" } else { "1" });
            match ingest.read(&Key::new(kind, Id::parse(id).unwrap()), block.text.as_bytes(), 0) {
                Verdict::Accepted(_) => {}
                // HTTP routes are refused as a whole, once nothing else is wrong with them
                Verdict::Rejected(r)
                    if kind == Kind::Route && r.violations.iter().all(|v| v.path.is_empty() && v.rule == "unsupported") => {}
                Verdict::Rejected(rejected) => panic!("{at}: {rejected:?}"),
            }
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    for page in page::all() {
        for (line, target) in page.links() {
            if target.contains("://") {
                continue;
            }
            let at = format!("{}:{line}: {target}", page.name);
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let here = root().join(&page.name);
            let path = if file.is_empty() { here.clone() } else { here.parent().unwrap().join(file) };
            let path = path.canonicalize().unwrap_or_else(|e| panic!("{at}: {e}"));
            if !anchor.is_empty() {
                let name = path.strip_prefix(root().canonicalize().unwrap()).unwrap();
                assert!(Page::read(name.to_str().unwrap()).anchors().contains(anchor), "{at}: no such heading");
            }
        }
    }
}

#[test]
fn the_readme_leads_to_every_page() {
    let links: BTreeSet<String> = Page::read("README.md").links().into_iter().map(|(_, target)| target).collect();
    for page in page::all().iter().filter(|p| p.name.starts_with("docs/") || p.name == "CHANGELOG.md") {
        assert!(links.contains(&page.name), "README.md does not link to {}", page.name);
    }
}

#[test]
fn every_make_target_that_a_page_names_exists() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    for page in page::all() {
        for (line, text) in page.prose() {
            for part in text.split("`make ").skip(1) {
                let target: String = part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
                let exists = makefile.lines().any(|l| l.starts_with(&format!("{target}:")));
                assert!(exists, "{}:{line}: make {target}", page.name);
            }
        }
    }
}
