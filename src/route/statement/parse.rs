//! The grammar: from tokens to a tree. `and` binds tighter than `or`, as in SQL. Knows no field by name.

use winnow::combinator::{opt, separated};
use winnow::prelude::*;
use winnow::stream::{Stream, TokenSlice};
use winnow::token::{any, one_of};

use super::DEEPEST;
use super::ast::{Constant, Expr, Field, Op, Test, Value};
use super::fault::{Fault, shown};
use super::lexer::{self, Sign, Tok, Token};

type Input<'t, 's> = TokenSlice<'t, Token<'s>>;

/// One side of a comparison.
enum Side {
    Field(Field),
    Value(Value),
}

/// Reads a whole statement.
pub(super) fn parse(text: &str) -> Result<Expr, Fault> {
    let tokens = lexer::tokens(text)?;
    let mut input = TokenSlice::new(&tokens);
    let tree = disjunction(&mut input, 0)?;
    match next(&input) {
        Token { tok: Tok::End, .. } => Ok(tree),
        found => Err(expected("`and`, `or` or the end", found)),
    }
}

fn disjunction(input: &mut Input<'_, '_>, depth: usize) -> Result<Expr, Fault> {
    let parts: Vec<Expr> = separated(1.., |i: &mut Input<'_, '_>| conjunction(i, depth), keyword("or")).parse_next(input)?;
    Ok(joined(parts, Expr::Any))
}

fn conjunction(input: &mut Input<'_, '_>, depth: usize) -> Result<Expr, Fault> {
    let parts: Vec<Expr> = separated(1.., |i: &mut Input<'_, '_>| condition(i, depth), keyword("and")).parse_next(input)?;
    Ok(joined(parts, Expr::All))
}

fn joined(mut parts: Vec<Expr>, many: fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            many(parts)
        }
    }
}

/// The depth is checked before anything is entered, so the stack is bounded by [`DEEPEST`].
fn condition(input: &mut Input<'_, '_>, depth: usize) -> Result<Expr, Fault> {
    if depth > DEEPEST {
        return Err(Fault::at(next(input).at, format!("more than {DEEPEST} parentheses and `not` inside one another")));
    }
    if opt(keyword("not")).parse_next(input)?.is_some() {
        return Ok(Expr::Not(Box::new(condition(input, depth + 1)?)));
    }
    if opt(sign(Sign::Open)).parse_next(input)?.is_some() {
        let inner = disjunction(input, depth + 1)?;
        must(input, Sign::Close)?;
        return Ok(inner);
    }
    comparison(input).map(Expr::Test)
}

fn comparison(input: &mut Input<'_, '_>) -> Result<Test, Fault> {
    let left = side(input, "a field")?;
    let (at, op) = operator(input)?;
    if op == Op::In {
        return match left {
            Side::Field(field) => Ok(Test { field, op, at, values: list(input)? }),
            Side::Value(value) => Err(Fault::at(value.at, "before `in` stands a field")),
        };
    }
    match (left, side(input, "a value")?) {
        (Side::Field(field), Side::Value(value)) => Ok(Test { field, op, at, values: vec![value] }),
        (Side::Value(value), Side::Field(field)) => Ok(Test { field, op: op.mirrored(), at, values: vec![value] }),
        (Side::Field(_), Side::Field(field)) => {
            Err(Fault::at(field.at, format!("a field is compared with a value: put {} in quotes", shown(&field.name))))
        }
        (Side::Value(value), Side::Value(_)) => Err(Fault::at(value.at, "one side of a comparison is a field")),
    }
}

fn side(input: &mut Input<'_, '_>, wanted: &str) -> Result<Side, Fault> {
    let token = next(input);
    let at = token.at;
    let constant = match &token.tok {
        Tok::Word(word) if is_keyword(word) => return Err(expected(wanted, token)),
        Tok::Word(word) => match constant(word) {
            Some(constant) => constant,
            None => return field(input, word).map(Side::Field),
        },
        Tok::Text(text) => Constant::Text(text.clone()),
        Tok::Number(number) => Constant::Number(number.clone()),
        Tok::Sign(_) | Tok::Other(_) | Tok::End => return Err(expected(wanted, token)),
    };
    any.void().parse_next(input)?;
    Ok(Side::Value(Value { at, constant }))
}

fn field(input: &mut Input<'_, '_>, name: &str) -> Result<Field, Fault> {
    let at = next(input).at;
    any.void().parse_next(input)?;
    let mut key = None;
    if opt(sign(Sign::Open)).parse_next(input)?.is_some() {
        let token = next(input);
        let Tok::Text(text) = &token.tok else { return Err(expected("a name in quotes", token)) };
        key = Some((token.at, text.clone()));
        any.void().parse_next(input)?;
        must(input, Sign::Close)?;
    }
    Ok(Field { at, name: name.to_owned(), key })
}

fn list(input: &mut Input<'_, '_>) -> Result<Vec<Value>, Fault> {
    must(input, Sign::Open)?;
    let item = |i: &mut Input<'_, '_>| match side(i, "a value")? {
        Side::Value(value) => Ok(value),
        Side::Field(field) => Err(Fault::at(field.at, format!("a list holds values: put {} in quotes", shown(&field.name)))),
    };
    let values = separated(1.., item, sign(Sign::Comma)).parse_next(input)?;
    must(input, Sign::Close)?;
    Ok(values)
}

fn operator(input: &mut Input<'_, '_>) -> Result<(usize, Op), Fault> {
    let token = next(input);
    let op = match &token.tok {
        Tok::Sign(Sign::Equal) => Op::Equal,
        Tok::Sign(Sign::NotEqual) => Op::NotEqual,
        Tok::Sign(Sign::Less) => Op::Less,
        Tok::Sign(Sign::AtMost) => Op::AtMost,
        Tok::Sign(Sign::Greater) => Op::Greater,
        Tok::Sign(Sign::AtLeast) => Op::AtLeast,
        Tok::Sign(Sign::Matches) => Op::Matches,
        Tok::Word(word) if word.eq_ignore_ascii_case("in") => Op::In,
        Tok::Word(_) | Tok::Text(_) | Tok::Number(_) | Tok::Sign(_) | Tok::Other(_) | Tok::End => {
            return Err(expected("one of = != < <= > >= ~= in", token));
        }
    };
    any.void().parse_next(input)?;
    Ok((token.at, op))
}

fn must(input: &mut Input<'_, '_>, wanted: Sign) -> Result<(), Fault> {
    let token = next(input);
    opt(sign(wanted)).parse_next(input)?.ok_or_else(|| expected(&format!("`{}`", wanted.text()), token))
}

fn sign<'t, 's: 't>(wanted: Sign) -> impl Parser<Input<'t, 's>, (), Fault> {
    one(move |tok| matches!(tok, Tok::Sign(sign) if *sign == wanted))
}

fn keyword<'t, 's: 't>(wanted: &'static str) -> impl Parser<Input<'t, 's>, (), Fault> {
    one(move |tok| matches!(tok, Tok::Word(word) if word.eq_ignore_ascii_case(wanted)))
}

fn one<'t, 's: 't>(is: impl Fn(&Tok<'s>) -> bool) -> impl Parser<Input<'t, 's>, (), Fault> {
    one_of(move |token: &'t Token<'s>| is(&token.tok)).void()
}

fn is_keyword(word: &str) -> bool {
    ["and", "or", "not", "in"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

fn constant(word: &str) -> Option<Constant> {
    let known = [("true", Constant::Bool(true)), ("false", Constant::Bool(false)), ("null", Constant::Null)];
    known.into_iter().find(|(text, _)| word.eq_ignore_ascii_case(text)).map(|(_, constant)| constant)
}

/// The token that is read next. The last one is never taken, so there always is one.
fn next<'t, 's>(input: &Input<'t, 's>) -> &'t Token<'s> {
    static END: Token<'static> = Token { at: 0, tok: Tok::End };
    input.peek_token().unwrap_or(&END)
}

fn expected(wanted: &str, found: &Token<'_>) -> Fault {
    let found_text = match &found.tok {
        Tok::Word(word) => format!("`{}`", shown(word)),
        Tok::Text(text) => format!("the text '{}'", shown(text)),
        Tok::Number(number) => format!("the number {number}"),
        Tok::Sign(sign) => format!("`{}`", sign.text()),
        Tok::Other(c) => format!("`{c}`"),
        Tok::End => "the end".to_owned(),
    };
    Fault::at(found.at, format!("expected {wanted}, found {found_text}"))
}
