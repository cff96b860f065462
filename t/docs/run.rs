//! Runs the commands of a page, in their order, in one shell, beside a real gateway. A network and processes of its own keep the
//! default ports free and end whatever the page starts.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::page::{self, Block, Page};
use crate::seed_mysql::{self, Daemon};
use crate::support::{gateway, http, poll};

/// A page with everything that it starts, in seconds.
const LONGEST: &str = "120";

/// The pages that say that a database listens on 127.0.0.1:3306.
const MYSQL: [&str; 1] = ["docs/MIGRATE-FROM-APISIX.md"];

/// What stands for the commands that would leave the machine or build: the copy of the sources is there, and its gateway runs.
/// An error status fails `curl`, except where its answer is what the page shows.
const PRELUDE: &str = r#"
set -euo pipefail
git() { [ "$1" = clone ] && [ "$3" = sluice ]; }
make() { local word; for word; do [[ $word == *=* ]] || grep -q "^$word:" "$ROOT/Makefile"; done; }
curl() { command curl --no-progress-meter --fail-with-body "$@"; }
"#;

/// A command of a page and what it says.
struct Shown {
    at: String,
    says: Vec<String>,
    file: String,
}

/// Runs a page in the namespaces of the caller.
pub fn page(name: &str) {
    let page = Page::read(name);
    let blocks = page.blocks();
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("sluice");
    furnish(&home, &blocks);
    let _server = MYSQL.contains(&name).then(|| seed_mysql::mariadb(&server(dir.path())));
    let mut running = start(&home);
    let (script, shown) = script(&page, &blocks);
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(dir.path().join("script"), script).unwrap();
    // the first page shows the way into the copy itself
    let begin = if name == "README.md" { dir.path() } else { home.as_path() };
    let ended = Command::new("timeout")
        .args([LONGEST, "bash"])
        .arg(dir.path().join("script"))
        .current_dir(begin)
        .env("OUT", &out)
        .env("ROOT", page::root())
        .env("REPOSITORY", "the address of a repository")
        .env_remove("KEY")
        .stdin(Stdio::null())
        .status()
        .unwrap();
    let log = || fs::read_to_string(dir.path().join("gateway.log")).unwrap_or_default();
    assert!(ended.success(), "{ended}, the last command being at {}\n--- gateway ---\n{}", last(&out), log());
    for command in shown {
        let said = fs::read_to_string(out.join(&command.file)).unwrap();
        let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
        assert!(
            fits(&command.says, &lines),
            "{}\n--- the page says ---\n{}\n--- it is ---\n{said}\n--- gateway ---\n{}",
            command.at,
            command.says.join("\n"),
            log()
        );
    }
    if blocks.iter().any(|b| b.text.contains("kill -")) {
        let status = poll::until(poll::SOON, "the gateway ends, as the page says", || running.0.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

/// The block that ran last and what it said.
fn last(out: &Path) -> String {
    let at = fs::read_to_string(out.join("at")).unwrap_or_default();
    let (place, file) = at.trim().split_once(' ').unwrap_or((at.trim(), ""));
    format!("{place}\n{}", fs::read_to_string(out.join(file)).unwrap_or_default())
}

/// What a clone has once it is built, with the page's own configuration if it shows one.
fn furnish(home: &Path, blocks: &[Block]) {
    fs::create_dir_all(home.join("conf")).unwrap();
    fs::create_dir_all(home.join("target/release")).unwrap();
    symlink(gateway::program(), home.join("target/release/sluice")).unwrap();
    let own = blocks.iter().find(|b| b.language == "yaml" && b.mark == "conf/config.yaml").map(|b| b.text.clone());
    let text = own.unwrap_or_else(|| fs::read_to_string(page::root().join("conf/config.yaml")).unwrap());
    fs::write(home.join("conf/config.yaml"), text).unwrap();
}

fn server(dir: &Path) -> PathBuf {
    let home = dir.join("server");
    fs::create_dir(&home).unwrap();
    home
}

/// What `make run` does once everything is built.
fn start(home: &Path) -> Daemon {
    let log = fs::File::create(home.with_file_name("gateway.log")).unwrap();
    let mut child = Command::new("target/release/sluice")
        .args(["run", "--config", "conf/config.yaml"])
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let metrics = "127.0.0.1:9091".parse().unwrap();
    poll::soon("the gateway is ready", || {
        assert!(child.try_wait().unwrap().is_none(), "{}", fs::read_to_string(home.with_file_name("gateway.log")).unwrap());
        http::call(metrics, "GET", "/readyz", &[], b"").is_ok_and(|a| a.status == 200)
    });
    Daemon(child)
}

/// The blocks as one script. Each writes to a file of its own.
fn script(page: &Page, blocks: &[Block]) -> (String, Vec<Shown>) {
    let (mut script, mut shown) = (PRELUDE.to_owned(), Vec::new());
    for block in blocks {
        let at = format!("{}:{}", page.name, block.line);
        match block.language.as_str() {
            "sh" => step(&mut script, &at, &format!("sh-{}", block.line), &block.text),
            "console" => {
                for (index, (command, says)) in commands(&at, &block.text).into_iter().enumerate() {
                    let file = format!("console-{}-{index}", block.line);
                    // its answer is compared, so that an error may be what is shown
                    let text = if says.is_empty() { command } else { lenient(&command) };
                    step(&mut script, &at, &file, &text);
                    if !says.is_empty() {
                        shown.push(Shown { at: at.clone(), says, file });
                    }
                }
            }
            _ => {}
        }
    }
    (script, shown)
}

fn step(script: &mut String, at: &str, file: &str, text: &str) {
    writeln!(script, "echo '{at} {file}' >\"$OUT/at\"\nexec >\"$OUT/{file}\" 2>&1\n{text}").unwrap();
}

fn lenient(command: &str) -> String {
    format!(
        "set +e\ncurl() {{ command curl --no-progress-meter \"$@\"; }}\n{command}\ncurl() {{ command curl --no-progress-meter --fail-with-body \"$@\"; }}\nset -e"
    )
}

/// The commands of a console block (`$ …`, continued by `> …`), each with the lines that follow it.
fn commands(at: &str, text: &str) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), line.strip_prefix("> "), all.last_mut()) {
            (Some(command), _, _) => all.push((command.to_owned(), Vec::new())),
            (_, Some(more), Some((command, says))) if says.is_empty() => {
                command.push('\n');
                command.push_str(more);
            }
            (_, _, Some((_, says))) => says.push(line.trim_end().to_owned()),
            (_, _, None) => panic!("{at}: a console block begins with a command"),
        }
    }
    all
}

/// Whether lines are what a page shows: `...` in a line is any text, alone on a line any lines.
fn fits(says: &[String], lines: &[&str]) -> bool {
    let Some((first, rest)) = says.split_first() else { return lines.is_empty() };
    if first.trim() == "..." {
        return (0..=lines.len()).any(|skipped| fits(rest, &lines[skipped..]));
    }
    lines.split_first().is_some_and(|(line, more)| alike(first, line) && fits(rest, more))
}

fn alike(says: &str, line: &str) -> bool {
    let Some((before, after)) = says.split_once("...") else { return says == line };
    let Some(rest) = line.strip_prefix(before) else { return false };
    (0..=rest.len()).any(|at| rest.is_char_boundary(at) && alike(after, &rest[at..]))
}

mod tests {
    use super::*;

    #[test]
    fn dots_stand_for_anything() {
        let says = |text: &str| text.lines().map(ToOwned::to_owned).collect::<Vec<_>>();
        for (page, said, fit) in [
            ("a\nb", vec!["a", "b"], true),
            ("a", vec!["a", "b"], false),
            ("a\n...", vec!["a"], true),
            ("...\nc", vec!["a", "b", "c"], true),
            ("x ... z", vec!["x y z"], true),
            ("x ... z", vec!["x y"], false),
            ("\"n\":...,\"m\":...}", vec!["\"n\":1,\"m\":2}"], true),
        ] {
            assert_eq!(fits(&says(page), &said), fit, "{page} / {said:?}");
        }
    }

    #[test]
    fn a_command_may_have_several_lines() {
        let found = commands("p:1", "$ a \\\n> b\nsays\n$ c\n");
        assert_eq!(found, [("a \\\nb".to_owned(), vec!["says".to_owned()]), ("c".to_owned(), vec![])]);
    }
}
