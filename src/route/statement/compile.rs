//! From the tree to what is evaluated: names become fields, constants take the type of their field, patterns are compiled.

use http::HeaderName;
use regex::bytes::{Regex, RegexBuilder};

use super::MOST_REGEXES;
use super::ast::{Constant, Expr, Field, Op, Test, Value};
use super::eval::{Flag, Node, NumberTest, TextTest};
use super::fault::{Fault, shown};
use super::values::{Many, Pick, Single};
use crate::base::nearest::nearest;
use crate::route::fold::Folded;

/// The most memory that one compiled pattern may take, in bytes, and again that its cache may.
const REGEX_SIZE: usize = 256 * 1024;

/// What a name stands for.
#[derive(Clone, Copy)]
enum Sort {
    Single(Single),
    Flag(Flag),
    Length,
    Many(Many),
}

/// Every field.
const FIELDS: [(&str, Sort); 15] = [
    ("Path", Sort::Single(Single::Path)),
    ("PathBase", Sort::Single(Single::PathBase)),
    ("Method", Sort::Single(Single::Method)),
    ("Scheme", Sort::Single(Single::Scheme)),
    ("Host", Sort::Single(Single::Host)),
    ("QueryString", Sort::Single(Single::QueryString)),
    ("ContentType", Sort::Single(Single::ContentType)),
    ("Protocol", Sort::Single(Single::Protocol)),
    ("IsHttps", Sort::Flag(Flag::IsHttps)),
    ("HasFormContentType", Sort::Flag(Flag::HasFormContentType)),
    ("ContentLength", Sort::Length),
    ("Header", Sort::Many(Many::Header)),
    ("Query", Sort::Many(Many::Query)),
    ("Cookie", Sort::Many(Many::Cookie)),
    ("Form", Sort::Many(Many::Form)),
];

/// Compiles a tree.
pub(super) fn compile(expr: &Expr) -> Result<Node, Fault> {
    Compiler { regexes: 0 }.node(expr)
}

struct Compiler {
    /// How many patterns there were so far.
    regexes: usize,
}

impl Compiler {
    fn node(&mut self, expr: &Expr) -> Result<Node, Fault> {
        Ok(match expr {
            Expr::Any(parts) => Node::Any(self.nodes(parts)?),
            Expr::All(parts) => Node::All(self.nodes(parts)?),
            Expr::Not(inner) => Node::Not(Box::new(self.node(inner)?)),
            Expr::Test(test) => self.test(test)?,
        })
    }

    fn nodes(&mut self, parts: &[Expr]) -> Result<Box<[Node]>, Fault> {
        parts.iter().map(|part| self.node(part)).collect()
    }

    fn test(&mut self, test: &Test) -> Result<Node, Fault> {
        let negated = test.op == Op::NotEqual;
        match (sort(&test.field)?, &test.field.key) {
            (Sort::Many(field), Some((at, key))) => {
                let pick = pick(field, *at, key)?;
                Ok(Node::Texts { field, pick, test: self.text(test)?, negated })
            }
            (Sort::Many(_), None) => Err(Fault::at(test.field.at, format!("{0} needs a name: {0}('name')", test.field.name))),
            (_, Some((at, _))) => Err(Fault::at(*at, format!("{} has one value and takes no name", test.field.name))),
            (Sort::Single(field), None) => Ok(Node::Text { field, test: self.text(test)?, negated }),
            (Sort::Flag(field), None) => flag(field, test),
            (Sort::Length, None) => Ok(Node::Length { test: number(test)?, negated }),
        }
    }

    fn text(&mut self, test: &Test) -> Result<TextTest, Fault> {
        match test.op {
            Op::Equal | Op::NotEqual | Op::In => {
                let texts = test.values.iter().map(|value| text(&value.constant));
                let list = texts.clone().flatten().map(|t| Folded::new(&t)).collect();
                Ok(TextTest::OneOf { list, absent: texts.clone().any(|t| t.is_none()) })
            }
            Op::Matches => self.regex(&test.values).map(TextTest::Matches),
            Op::Less | Op::AtMost | Op::Greater | Op::AtLeast => Err(misused(test, "= != ~= in")),
        }
    }

    fn regex(&mut self, values: &[Value]) -> Result<Regex, Fault> {
        let at = values.first().map_or(0, |value| value.at);
        let pattern = values.first().and_then(|value| text(&value.constant)).unwrap_or_default();
        if pattern.trim().is_empty() {
            return Err(Fault::at(at, "`~=` needs a pattern that is not blank"));
        }
        self.regexes += 1;
        if self.regexes > MOST_REGEXES {
            return Err(Fault::at(at, format!("more than {MOST_REGEXES} patterns in one statement")));
        }
        let built = RegexBuilder::new(&pattern).case_insensitive(true).size_limit(REGEX_SIZE).dfa_size_limit(REGEX_SIZE).build();
        built.map_err(|e| Fault::at(at, format!("not a pattern: {}", told(&e))))
    }
}

/// The last line of the crate's message; those before it repeat the pattern.
fn told(error: &regex::Error) -> String {
    if let regex::Error::CompiledTooBig(_) = error {
        return "it is too large when compiled".into();
    }
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

fn sort(field: &Field) -> Result<Sort, Fault> {
    if let Some((_, sort)) = FIELDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(&field.name)) {
        return Ok(*sort);
    }
    let short = field.name.len() <= 32;
    let near = nearest(&field.name, FIELDS.iter().map(|(name, _)| *name).filter(|_| short));
    let hint = near.map(|word| format!(" (did you mean {word}?)")).unwrap_or_default();
    Err(Fault::at(field.at, format!("there is no field {}{hint}", shown(&field.name))))
}

fn pick(field: Many, at: usize, key: &str) -> Result<Pick, Fault> {
    if key.trim().is_empty() {
        return Err(Fault::at(at, "a name is not blank"));
    }
    let special = [("#keys", Pick::Keys), ("#values", Pick::Values), ("#kvs", Pick::Both)];
    if let Some((_, pick)) = special.into_iter().find(|(word, _)| key.eq_ignore_ascii_case(word)) {
        return Ok(pick);
    }
    if field != Many::Header {
        return Ok(Pick::Named(Folded::new(key)));
    }
    HeaderName::from_bytes(key.as_bytes()).map(Pick::Header).map_err(|_| Fault::at(at, "no header can have this name"))
}

fn flag(field: Flag, test: &Test) -> Result<Node, Fault> {
    if !matches!(test.op, Op::Equal | Op::NotEqual | Op::In) {
        return Err(misused(test, "= != in"));
    }
    let (mut no, mut yes) = (false, false);
    for value in &test.values {
        match boolean(&value.constant) {
            Some(true) => yes = true,
            Some(false) => no = true,
            None => return Err(Fault::at(value.at, format!("{} is true or false", test.field.name))),
        }
    }
    let negated = test.op == Op::NotEqual;
    Ok(Node::Flag { field, no: no != negated, yes: yes != negated })
}

/// Whatever is compared with null is a test for absence, even an ordering.
fn number(test: &Test) -> Result<NumberTest, Fault> {
    if test.op == Op::Matches {
        return Err(misused(test, "= != < <= > >= in"));
    }
    let mut list = Vec::new();
    for value in &test.values {
        if value.constant != Constant::Null {
            let wrong = || Fault::at(value.at, format!("{} is a whole number of at most 64 bits", test.field.name));
            list.push(whole(&value.constant).ok_or_else(wrong)?);
        }
    }
    let absent = list.len() < test.values.len();
    Ok(match (test.op, list.first()) {
        (Op::Less, Some(than)) => NumberTest::Less(*than),
        (Op::AtMost, Some(most)) => NumberTest::AtMost(*most),
        (Op::Greater, Some(than)) => NumberTest::Greater(*than),
        (Op::AtLeast, Some(least)) => NumberTest::AtLeast(*least),
        _ => NumberTest::OneOf { list: list.into(), absent },
    })
}

fn misused(test: &Test, allowed: &str) -> Fault {
    Fault::at(test.at, format!("{} is compared with one of {allowed}", test.field.name))
}

/// A constant as text; `None` for null.
fn text(constant: &Constant) -> Option<String> {
    match constant {
        Constant::Text(text) => Some(text.clone()),
        Constant::Number(number) => Some(number.to_string()),
        Constant::Bool(flag) => Some(flag.to_string()),
        Constant::Null => None,
    }
}

fn boolean(constant: &Constant) -> Option<bool> {
    match constant {
        Constant::Bool(flag) => Some(*flag),
        Constant::Number(number) => Some(!number.is_zero()),
        Constant::Text(text) => match text.trim() {
            t if t.eq_ignore_ascii_case("true") => Some(true),
            t if t.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        },
        Constant::Null => None,
    }
}

fn whole(constant: &Constant) -> Option<i64> {
    match constant {
        Constant::Number(number) => number.rounded(),
        Constant::Text(text) => text.trim().parse().ok(),
        Constant::Bool(_) | Constant::Null => None,
    }
}
