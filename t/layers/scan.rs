//! Rust source as far as the layer test needs it: tokens, module nesting, `use` trees, paths. It does not parse Rust; it reads the few
//! forms in which one module can name another, and errs on the side of seeing one.

use std::collections::BTreeMap;

/// A piece of source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tok {
    /// An identifier or keyword.
    Ident(String),
    /// `::`
    Sep,
    /// The content of a string literal.
    Str(String),
    /// Any other single character that is not white space.
    Punct(char),
}

/// A token and the line it began on, from 1.
#[derive(Clone, Debug)]
pub struct Token {
    pub tok: Tok,
    pub line: usize,
}

/// Splits source into tokens; comments, numbers, characters and lifetimes are left out.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut scan = Scan { chars: source.chars().collect(), at: 0, line: 1, out: Vec::new() };
    while scan.step() {}
    scan.out
}

struct Scan {
    chars: Vec<char>,
    at: usize,
    line: usize,
    out: Vec<Token>,
}

impl Scan {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn bump(&mut self) -> char {
        let c = self.peek(0);
        self.at += 1;
        if c == '\n' {
            self.line += 1;
        }
        c
    }

    fn push(&mut self, tok: Tok, line: usize) {
        self.out.push(Token { tok, line });
    }

    /// One token or one piece of nothing; false at the end.
    fn step(&mut self) -> bool {
        let line = self.line;
        match self.peek(0) {
            '\0' if self.at >= self.chars.len() => return false,
            '/' if self.peek(1) == '/' => {
                while self.at < self.chars.len() && self.peek(0) != '\n' {
                    self.bump();
                }
            }
            '/' if self.peek(1) == '*' => self.block_comment(),
            '"' => self.text(line),
            '\'' => self.quote(),
            ':' if self.peek(1) == ':' => {
                self.at += 2;
                self.push(Tok::Sep, line);
            }
            c if c.is_alphabetic() || c == '_' => self.word(line),
            c if c.is_ascii_digit() => {
                while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
                    self.bump();
                }
            }
            c => {
                self.bump();
                if !c.is_whitespace() {
                    self.push(Tok::Punct(c), line);
                }
            }
        }
        true
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ if self.at >= self.chars.len() => return,
                _ => {
                    self.bump();
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    /// An ordinary string; the opening quote is next.
    fn text(&mut self, line: usize) {
        self.bump();
        let mut content = String::new();
        while self.at < self.chars.len() {
            match self.bump() {
                '"' => break,
                '\\' => {
                    self.bump();
                }
                c => content.push(c),
            }
        }
        self.push(Tok::Str(content), line);
    }

    /// A character literal, or a lifetime.
    fn quote(&mut self) {
        self.bump();
        if self.peek(0) == '\\' {
            self.at += 2;
            while self.at < self.chars.len() && self.bump() != '\'' {}
        } else if self.peek(1) == '\'' {
            self.bump();
            self.bump();
        } else {
            while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
                self.bump();
            }
        }
    }

    fn word(&mut self, line: usize) {
        let mut word = String::new();
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            word.push(self.bump());
        }
        let hashes = self.chars[self.at.min(self.chars.len())..].iter().take_while(|c| **c == '#').count();
        match word.as_str() {
            "r" | "br" | "cr" if self.peek(hashes) == '"' => self.raw_text(hashes, line),
            "b" | "c" if self.peek(0) == '"' => self.text(line),
            "b" if self.peek(0) == '\'' => self.quote(),
            // a raw identifier: r#name
            "r" if hashes == 1 => {
                self.bump();
            }
            _ => self.push(Tok::Ident(word), line),
        }
    }

    fn raw_text(&mut self, hashes: usize, line: usize) {
        self.at += hashes + 1;
        let mut content = String::new();
        while self.at < self.chars.len() {
            let c = self.bump();
            if c == '"' && (0..hashes).all(|n| self.peek(n) == '#') {
                self.at += hashes;
                break;
            }
            content.push(c);
        }
        self.push(Tok::Str(content), line);
    }
}

/// A name that a module brings in: `use path as name`.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The name inside the module; `None` for a glob.
    pub name: Option<String>,
    /// The path as written.
    pub path: Vec<String>,
    pub line: usize,
}

/// A path of two or more segments, as written.
#[derive(Clone, Debug)]
pub struct Mention {
    pub path: Vec<String>,
    pub line: usize,
}

/// One module, of a file or inline.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// The items that it declares itself, child modules included.
    pub items: Vec<String>,
    pub bindings: Vec<Binding>,
    pub mentions: Vec<Mention>,
    /// The file it is in.
    pub file: String,
    /// Inside `#[cfg(test)]`.
    pub test: bool,
}

/// What a file says.
#[derive(Debug, Default)]
pub struct FileFacts {
    /// Its modules by path from the crate root.
    pub modules: BTreeMap<Vec<String>, Module>,
    /// Forms that would let a module escape the test: (line, what).
    pub escapes: Vec<(usize, &'static str)>,
    /// Lines from and to, both inclusive, of each `#[cfg(test)]` module.
    pub tests: Vec<(usize, usize)>,
    /// The `#[cfg(test)]` modules that are files of their own.
    pub test_files: Vec<Vec<String>>,
}

/// Reads one file whose module path is `path`.
pub fn file(path: &[String], name: &str, source: &str) -> FileFacts {
    let mut reader = Reader {
        toks: tokens(source),
        at: 0,
        scope: path.to_vec(),
        facts: FileFacts::default(),
        depth: 0,
        inline: Vec::new(),
        file: name.into(),
    };
    reader.open_module(false);
    while reader.at < reader.toks.len() {
        reader.step();
    }
    reader.facts
}

struct Inline {
    depth: usize,
    test_from: Option<usize>,
}

struct Reader {
    toks: Vec<Token>,
    at: usize,
    scope: Vec<String>,
    facts: FileFacts,
    depth: usize,
    inline: Vec<Inline>,
    file: String,
}

impl Reader {
    fn ident(&self, ahead: usize) -> Option<&str> {
        match self.toks.get(self.at + ahead).map(|t| &t.tok) {
            Some(Tok::Ident(word)) => Some(word),
            _ => None,
        }
    }

    fn is(&self, ahead: usize, c: char) -> bool {
        self.toks.get(self.at + ahead).is_some_and(|t| t.tok == Tok::Punct(c))
    }

    fn sep(&self, ahead: usize) -> bool {
        self.toks.get(self.at + ahead).is_some_and(|t| t.tok == Tok::Sep)
    }

    fn line(&self) -> usize {
        self.toks.get(self.at).map_or(0, |t| t.line)
    }

    fn module(&mut self) -> &mut Module {
        self.facts.modules.entry(self.scope.clone()).or_default()
    }

    fn open_module(&mut self, test: bool) {
        let file = self.file.clone();
        let module = self.module();
        module.file = file;
        module.test = test;
    }

    fn in_test(&self) -> bool {
        self.inline.iter().any(|i| i.test_from.is_some())
    }

    fn step(&mut self) {
        if self.is(0, '#') {
            return self.attribute();
        }
        if self.is(0, '{') {
            self.depth += 1;
        } else if self.is(0, '}') {
            self.close();
        }
        let Some(word) = self.ident(0).map(ToOwned::to_owned) else {
            self.at += 1;
            return;
        };
        match word.as_str() {
            "use" if self.starts_item() => self.use_item(),
            "mod" if self.ident(1).is_some() => self.mod_item(None),
            "extern" if self.ident(1) == Some("crate") => {
                self.facts.escapes.push((self.line(), "extern crate"));
                self.at += 2;
            }
            "include" if self.is(1, '!') => {
                self.facts.escapes.push((self.line(), "include!"));
                self.at += 2;
            }
            _ => self.plain(&word),
        }
    }

    /// Whether `use` here begins an item, rather than `impl Trait + use<'a>`.
    fn starts_item(&self) -> bool {
        !self.is(1, '<')
    }

    /// A declaration, the head of a path, or any other word.
    fn plain(&mut self, word: &str) {
        const DECLARES: [&str; 9] = ["struct", "enum", "fn", "trait", "type", "const", "static", "union", "macro_rules"];
        if DECLARES.contains(&word) {
            let skip = usize::from(word == "macro_rules");
            if let Some(name) = self.ident(1 + skip).map(ToOwned::to_owned) {
                self.module().items.push(name);
            }
            self.at += 1;
            return;
        }
        if self.sep(1) && !(self.at > 0 && self.toks[self.at - 1].tok == Tok::Sep) {
            let line = self.line();
            let path = self.path();
            self.module().mentions.push(Mention { path, line });
            return;
        }
        self.at += 1;
    }

    /// Reads `a::b::c`; stops before anything else.
    fn path(&mut self) -> Vec<String> {
        let mut path = Vec::new();
        while let Some(word) = self.ident(0).map(ToOwned::to_owned) {
            path.push(word);
            self.at += 1;
            if !self.sep(0) || self.ident(1).is_none() {
                break;
            }
            self.at += 1;
        }
        path
    }

    /// `#[…]`: seen for `cfg(test)` before a module, and for `path`.
    fn attribute(&mut self) {
        let line = self.line();
        self.at += 1;
        if self.is(0, '!') {
            self.at += 1;
        }
        if !self.is(0, '[') {
            return;
        }
        let mut words = Vec::new();
        let mut depth = 0;
        while self.at < self.toks.len() {
            if self.is(0, '[') {
                depth += 1;
            } else if self.is(0, ']') {
                depth -= 1;
            } else if let Some(word) = self.ident(0) {
                words.push(word.to_owned());
            }
            self.at += 1;
            if depth == 0 {
                break;
            }
        }
        if words.first().is_some_and(|w| w == "path") {
            self.facts.escapes.push((line, "#[path]"));
        }
        if words == ["cfg", "test"] {
            self.test_item(line);
        }
    }

    /// What follows `#[cfg(test)]`: further attributes and visibility, then perhaps a module.
    fn test_item(&mut self, line: usize) {
        while self.is(0, '#') {
            self.attribute();
        }
        if self.ident(0) == Some("pub") {
            self.at += 1;
            while self.is(0, '(') || self.is(0, ')') || matches!(self.ident(0), Some("crate" | "super" | "in")) {
                self.at += 1;
            }
        }
        if self.ident(0) == Some("mod") {
            self.mod_item(Some(line));
        }
    }

    fn mod_item(&mut self, test_from: Option<usize>) {
        let name = self.ident(1).unwrap_or_default().to_owned();
        self.module().items.push(name.clone());
        self.at += 2;
        if self.is(0, ';') && (test_from.is_some() || self.in_test()) {
            let mut path = self.scope.clone();
            path.push(name);
            self.facts.test_files.push(path);
        } else if self.is(0, '{') {
            self.at += 1;
            self.depth += 1;
            self.inline.push(Inline { depth: self.depth, test_from });
            self.scope.push(name);
            let test = self.in_test();
            self.open_module(test);
        }
    }

    fn close(&mut self) {
        if self.inline.last().is_some_and(|i| i.depth == self.depth) {
            let line = self.line();
            self.scope.pop();
            if let Some(Inline { test_from: Some(from), .. }) = self.inline.pop() {
                self.facts.tests.push((from, line));
            }
        }
        self.depth = self.depth.saturating_sub(1);
    }

    fn use_item(&mut self) {
        self.at += 1;
        if self.sep(0) {
            self.at += 1;
        }
        self.use_tree(&[]);
    }

    fn use_tree(&mut self, before: &[String]) {
        let line = self.line();
        let mut path = before.to_vec();
        path.extend(self.path());
        if self.sep(0) {
            self.at += 1;
        }
        if self.is(0, '*') {
            self.at += 1;
            self.module().bindings.push(Binding { name: None, path, line });
        } else if self.is(0, '{') {
            self.at += 1;
            while self.at < self.toks.len() && !self.is(0, '}') {
                let start = self.at;
                self.use_tree(&path);
                if self.is(0, ',') || self.at == start {
                    self.at += 1;
                }
            }
            self.at += 1;
        } else {
            self.bind(path, line);
        }
    }

    fn bind(&mut self, mut path: Vec<String>, line: usize) {
        if path.len() > 1 && path.last().is_some_and(|p| p == "self") {
            path.pop();
        }
        let mut name = path.last().cloned();
        if self.ident(0) == Some("as") {
            name = self.ident(1).map(ToOwned::to_owned);
            self.at += 2;
        }
        self.module().bindings.push(Binding { name, path, line });
    }
}
