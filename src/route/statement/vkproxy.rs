//! Statements as `VKProxy` reads them, where `and` and `or` have one rank and go from left to right. They get the parentheses that
//! keep their meaning here, and what compares otherwise is named. Nothing is evaluated here.

use super::ast::{Constant, Expr, Op, Test, Value};
use super::lexer::{self, Sign, Tok, Token};
use super::{Statement, StatementError, parse};

/// A statement that was carried over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The statement with the parentheses that it needs.
    pub text: String,
    /// What means something else here, a sentence for each.
    pub differs: Vec<&'static str>,
}

impl Statement {
    /// Carries a statement of `VKProxy` over: `a or b and c` becomes `(a or b) and c`. All else is left as it was written.
    ///
    /// # Errors
    /// The first place that is not in the language, or has no meaning in it.
    pub fn from_vkproxy(text: &str) -> Result<Carried, StatementError> {
        Self::compile(text)?;
        let read = || Ok((lexer::tokens(text)?, parse::parse(text)?));
        let (tokens, tree) = read().map_err(|fault: super::fault::Fault| fault.placed(text))?;
        let carried = Carried { text: grouped(text, &tokens), differs: oddities(&tree, tokens.first().map_or(0, |first| first.at)) };
        // the parentheses count towards the limits too
        Self::compile(&carried.text)?;
        Ok(carried)
    }
}

/// What is open: the whole, or what is between parentheses.
#[derive(Default)]
struct Open {
    /// Where its first token is.
    from: Option<usize>,
    /// An `or` came that is not in parentheses of its own.
    or: bool,
}

fn grouped(text: &str, tokens: &[Token<'_>]) -> String {
    let mut open = vec![Open::default()];
    let mut marks = Vec::new();
    for token in tokens {
        let Some(group) = open.last_mut() else { break };
        let from = *group.from.get_or_insert(token.at);
        match &token.tok {
            Tok::Sign(Sign::Open) => open.push(Open::default()),
            Tok::Sign(Sign::Close) => _ = open.pop(),
            Tok::Word(word) if word.eq_ignore_ascii_case("or") => group.or = true,
            Tok::Word(word) if word.eq_ignore_ascii_case("and") && group.or => {
                let before = text.get(..token.at).unwrap_or(text);
                marks.extend([(from, '('), (before.trim_ascii_end().len(), ')')]);
                group.or = false;
            }
            Tok::Word(_) | Tok::Text(_) | Tok::Number(_) | Tok::Sign(_) | Tok::Other(_) | Tok::End => {}
        }
    }
    marked(text, marks)
}

fn marked(text: &str, mut marks: Vec<(usize, char)>) -> String {
    marks.sort_by_key(|(at, _)| *at);
    let mut whole = String::with_capacity(text.len() + marks.len());
    let mut done = 0;
    for (at, mark) in marks {
        whole.push_str(text.get(done..at).unwrap_or_default());
        whole.push(mark);
        done = at;
    }
    whole.push_str(text.get(done..).unwrap_or_default());
    whole
}

/// What a tree says that `VKProxy` takes otherwise. `first` is where its first token is.
fn oddities(tree: &Expr, first: usize) -> Vec<&'static str> {
    match tree {
        Expr::Any(parts) | Expr::All(parts) => {
            let mut all = Vec::new();
            for says in parts.iter().flat_map(|part| oddities(part, first)) {
                if !all.contains(&says) {
                    all.push(says);
                }
            }
            all
        }
        Expr::Not(inner) => oddities(inner, first),
        Expr::Test(test) => test.values.first().map(|value| odd(test, value, first)).unwrap_or_default(),
    }
}

fn odd(test: &Test, value: &Value, first: usize) -> Vec<&'static str> {
    let (name, field) = (&test.field.name, &test.field);
    let glued = field.key.as_ref().is_some_and(|(_, key)| format!("{name}{key}").eq_ignore_ascii_case("QueryString"));
    let value_first = value.at < field.at;
    let ordering = matches!(test.op, Op::Less | Op::AtMost | Op::Greater | Op::AtLeast);
    let bool_field = ["IsHttps", "HasFormContentType"].iter().any(|known| name.eq_ignore_ascii_case(known));
    let absence = value.constant == Constant::Null && matches!(test.op, Op::Equal | Op::NotEqual);
    let known = [
        (value_first && ordering, "a value before < <= > >= is read as it stands; VKProxy takes the opposite of the comparison"),
        (
            field.key.is_some() && absence,
            "a collection compared with null asks whether it is absent; in VKProxy = null never holds and != null always",
        ),
        (glued, "Query('String') is the parameter of that name; VKProxy takes it for QueryString"),
        (bool_field && test.op == Op::NotEqual, "VKProxy does not understand != here and ignores the whole statement"),
        (name.eq_ignore_ascii_case("PathBase"), "VKProxy does not know PathBase and ignores the whole statement"),
        (
            value_first && value.at == first && matches!(value.constant, Constant::Text(_)),
            "VKProxy does not read a text at the very beginning and ignores the whole statement",
        ),
    ];
    known.into_iter().filter(|(is, _)| *is).map(|(_, says)| says).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(text: &str) -> String {
        Statement::from_vkproxy(text).unwrap_or_else(|e| panic!("{text}: {e}")).text
    }

    #[test]
    fn and_after_or_gets_parentheses() {
        for (text, expected) in [
            ("Method = 'a' or Method = 'b' and Path = '/c'", "(Method = 'a' or Method = 'b') and Path = '/c'"),
            ("Method = 'a' and Method = 'b' or Path = '/c'", "Method = 'a' and Method = 'b' or Path = '/c'"),
            (
                "Path='a' or Path='b' or Path='c' and Path='d' and Path='e' or Path='f' and Path='g'",
                "((Path='a' or Path='b' or Path='c') and Path='d' and Path='e' or Path='f') and Path='g'",
            ),
            (" not Path='a' or not Path='b'\n\tAND Path='c'", " (not Path='a' or not Path='b')\n\tAND Path='c'"),
            (
                "not (Path='a' or Path='b' and Path='c') and (Path='d' OR Path='e')",
                "not ((Path='a' or Path='b') and Path='c') and (Path='d' OR Path='e')",
            ),
            ("Path in ('or', 'and') or Header('or') = 'x'and Path=' or '", "(Path in ('or', 'and') or Header('or') = 'x')and Path=' or '"),
            ("Path = 'ü' or Path = 'é' and Path = 'b'", "(Path = 'ü' or Path = 'é') and Path = 'b'"),
        ] {
            assert_eq!(carried(text), expected);
            assert_eq!(carried(expected), expected, "what has them needs no more");
        }
    }

    /// Every row of connectives between known truths: left to right there is here what the carried statement yields.
    #[test]
    fn the_meaning_is_that_of_left_to_right() {
        for bits in 0_u32..1 << 9 {
            let truth = |at: u32| bits >> at & 1 == 1;
            let word = |at: u32| if truth(at) { "Method = 'GET'" } else { "Method = 'PUT'" };
            let mut text = word(0).to_owned();
            let mut expected = truth(0);
            for at in 1..5 {
                let and = truth(at + 4);
                text = format!("{text} {} {}", if and { "and" } else { "or" }, word(at));
                expected = if and { expected && truth(at) } else { expected || truth(at) };
            }
            let carried = carried(&text);
            let tree = parse::parse(&carried).unwrap_or_else(|_| panic!("{carried}"));
            assert_eq!(holds(&tree), expected, "{text} became {carried}");
        }
    }

    fn holds(tree: &Expr) -> bool {
        match tree {
            Expr::Any(parts) => parts.iter().any(holds),
            Expr::All(parts) => parts.iter().all(holds),
            Expr::Not(inner) => !holds(inner),
            Expr::Test(test) => test.values.iter().any(|v| v.constant == Constant::Text("GET".into())),
        }
    }

    #[test]
    fn what_is_compared_otherwise_is_named() {
        for (text, word) in [
            ("30 < ContentLength", Some("opposite")),
            ("Path = '/a' or (30 >= ContentLength)", Some("opposite")),
            ("ContentLength < 30", None),
            ("Header('x') = null", Some("absent")),
            ("not Cookie('x') != NULL", Some("absent")),
            ("ContentType = null", None),
            ("query('string') = 'x'", Some("QueryString")),
            ("IsHttps != true", Some("!=")),
            ("PathBase = ''", Some("PathBase")),
            ("'GET' = Method", Some("very beginning")),
            ("('GET' = Method)", None),
        ] {
            let carried = Statement::from_vkproxy(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(carried.text, text);
            assert_eq!(carried.differs.len(), usize::from(word.is_some()), "{text}: {:?}", carried.differs);
            assert!(word.is_none_or(|w| carried.differs.iter().any(|says| says.contains(w))), "{text}: {:?}", carried.differs);
        }
    }

    #[test]
    fn what_is_not_in_the_language_is_shown_with_its_place() {
        let wrong = Statement::from_vkproxy("Method = 'GET'\n or Path = x and Path = 'b'").unwrap_err();
        assert_eq!((wrong.line, wrong.column), (2, 12));
        let deep = "Path = 'a' or Path = 'b' and ".repeat(70) + "Path = 'c'";
        assert!(Statement::from_vkproxy(&deep).unwrap_err().says.contains("inside one another"));
    }
}
