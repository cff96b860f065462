//! A markdown page taken apart: fenced blocks, links, headings, tables. Judges nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The top of the source tree.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One page.
#[derive(Debug)]
pub struct Page {
    /// Its path below the root.
    pub name: String,
    pub text: String,
}

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// Where its first line stands, from 1.
    pub line: usize,
    /// The first word after the fence.
    pub language: String,
    /// The words after that.
    pub mark: String,
    pub text: String,
}

/// Every page: those of the root, of `docs/` and of `bench/`.
pub fn all() -> Vec<Page> {
    let inside = |dir: &str| -> Vec<PathBuf> {
        let found = fs::read_dir(root().join(dir)).unwrap().map(|e| e.unwrap().path());
        found.filter(|p| p.extension().is_some_and(|e| e == "md")).collect()
    };
    let mut names: Vec<String> = ["", "docs", "bench"]
        .iter()
        .flat_map(|dir| inside(dir))
        .map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names.iter().map(|name| Page::read(name)).collect()
}

impl Page {
    pub fn read(name: &str) -> Self {
        let text = fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        Self { name: name.into(), text }
    }

    /// The blocks in their order. A fence stands at the beginning of its line.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (index, line) in self.text.lines().enumerate() {
            let here = format!("{}:{}", self.name, index + 1);
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(_), _) if !line.starts_with("```") => panic!("{here}: a fence that is indented"),
                (Some(info), None) => {
                    let (language, mark) = info.split_once(' ').unwrap_or((info, ""));
                    let (language, mark) = (language.to_owned(), mark.trim().to_owned());
                    open = Some(Block { line: index + 2, language, mark, text: String::new() });
                }
                (Some(info), Some(_)) => {
                    assert!(info.is_empty(), "{here}: a fence inside of a block");
                    blocks.extend(open.take());
                }
                (None, Some(block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block that does not end", self.name);
        blocks
    }

    /// The lines outside of blocks, with their numbers.
    pub fn prose(&self) -> Vec<(usize, &str)> {
        let mut inside = false;
        let mut prose = Vec::new();
        for (index, line) in self.text.lines().enumerate() {
            if line.starts_with("```") {
                inside = !inside;
            } else if !inside {
                prose.push((index + 1, line));
            }
        }
        prose
    }

    /// The targets of `[text](target)`, with their lines.
    pub fn links(&self) -> Vec<(usize, String)> {
        let mut links = Vec::new();
        for (number, line) in self.prose() {
            for part in line.split("](").skip(1) {
                links.extend(part.split_once(')').map(|(target, _)| (number, target.to_owned())));
            }
        }
        links
    }

    /// What a link may name after `#`: the headings as GitHub spells them.
    pub fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose().into_iter().filter(|(_, line)| line.starts_with('#'));
        headings.map(|(_, line)| anchor(line.trim_start_matches('#').trim())).collect()
    }

    /// The lines under a heading, given with its marks (`### upstreams`), to the next heading of its level or above.
    pub fn section(&self, heading: &str) -> String {
        let level = heading.bytes().take_while(|b| *b == b'#').count();
        let above = |line: &str| (1..=level).contains(&line.bytes().take_while(|b| *b == b'#').count());
        let prose = self.prose();
        let begin = prose.iter().position(|(_, line)| *line == heading).unwrap_or_else(|| panic!("{}: no heading {heading}", self.name));
        let lines = prose[begin + 1..].iter().map(|(_, line)| *line).take_while(|line| !above(line));
        lines.fold(String::new(), |text, line| text + line + "\n")
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

/// The cells of the table rows whose first cell is code: `` | `name` | … | ``.
pub fn rows(section: &str) -> Vec<Vec<String>> {
    let rows = section.lines().filter(|l| l.starts_with("| `"));
    let cells = |row: &str| row.trim().trim_matches('|').replace("\\|", "\u{0}").split('|').map(cell).collect::<Vec<_>>();
    rows.map(cells).collect()
}

fn cell(text: &str) -> String {
    text.replace('\u{0}', "|").trim().to_owned()
}

/// The names in the first cells of such rows. A cell may hold several.
pub fn names(section: &str) -> Vec<String> {
    rows(section)
        .iter()
        .flat_map(|row| row[0].split(',').map(|name| name.trim().trim_matches('`').to_owned()).collect::<Vec<_>>())
        .collect()
}

mod tests {
    use super::*;

    const TEXT: &str = "# A page\n\nSee [it](b.md#x).\n\n```json upstream\n{}\n```\n\n## One\n\n| a | b |\n|---|---|\n| `n` | x |\n| `o`, `p` | y |\n\n### In it\n\nz\n\n## Two\n\n```text\n# no heading\n```\n";

    #[test]
    fn a_page_is_taken_apart() {
        let page = Page { name: "p".into(), text: TEXT.into() };
        let blocks = page.blocks();
        assert_eq!((blocks[0].line, blocks[0].language.as_str(), blocks[0].mark.as_str()), (6, "json", "upstream"));
        assert_eq!((blocks.len(), blocks[0].text.as_str()), (2, "{}\n"));
        assert_eq!(page.links(), [(3, "b.md#x".to_owned())]);
        assert_eq!(page.anchors().into_iter().collect::<Vec<_>>(), ["a-page", "in-it", "one", "two"]);
        assert_eq!(names(&page.section("## One")), ["n", "o", "p"]);
        assert!(page.section("## One").contains("z\n") && !page.section("### In it").contains("Two"));
    }
}
