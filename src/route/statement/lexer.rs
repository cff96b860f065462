//! From text to words, texts, numbers and signs, each with its place. Knows no grammar.

use winnow::LocatingSlice;
use winnow::combinator::{alt, opt, peek};
use winnow::prelude::*;
use winnow::stream::{Location, Stream};
use winnow::token::{any, literal, one_of, take_while};

use super::decimal::Decimal;
use super::fault::Fault;

/// What is between words and means nothing.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
/// The characters that end a word, besides [`SPACE`].
const PUNCTUATION: &str = ")(+/.<>=,;-!~|`#$*^?:%][}{'\"";

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'s> {
    /// The offset of its first byte.
    pub(super) at: usize,
    pub(super) tok: Tok<'s>,
}

/// The sorts of token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tok<'s> {
    /// A name, a keyword, or `true`, `false`, `null`.
    Word(&'s str),
    /// What was between quotes.
    Text(String),
    Number(Decimal),
    Sign(Sign),
    /// A character that means nothing in this language.
    Other(char),
    /// Behind the last character.
    End,
}

/// The signs of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Matches,
    Open,
    Close,
    Comma,
}

/// Each sign with its text, the longer before the shorter that it begins with.
const SIGNS: [(&str, Sign); 10] = [
    ("<=", Sign::AtMost),
    (">=", Sign::AtLeast),
    ("!=", Sign::NotEqual),
    ("~=", Sign::Matches),
    ("<", Sign::Less),
    (">", Sign::Greater),
    ("=", Sign::Equal),
    ("(", Sign::Open),
    (")", Sign::Close),
    (",", Sign::Comma),
];

impl Sign {
    /// As it is written.
    pub(super) fn text(self) -> &'static str {
        SIGNS.iter().find(|(_, sign)| *sign == self).map_or("", |(text, _)| text)
    }
}

impl Location for Token<'_> {
    fn previous_token_end(&self) -> usize {
        self.at
    }

    fn current_token_start(&self) -> usize {
        self.at
    }
}

type Input<'s> = LocatingSlice<&'s str>;

/// The tokens of a text; the last one is [`Tok::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Fault> {
    let mut input = Input::new(text);
    let mut all = Vec::new();
    loop {
        take_while(0.., SPACE).void().parse_next(&mut input)?;
        let at = input.current_token_start();
        if input.eof_offset() == 0 {
            all.push(Token { at, tok: Tok::End });
            return Ok(all);
        }
        let tok = alt((quoted, number, sign, word, any.map(Tok::Other))).parse_next(&mut input)?;
        all.push(Token { at, tok });
    }
}

/// A backslash takes the end out of a quote; before any other character it is one itself.
fn quoted<'s>(input: &mut Input<'s>) -> Result<Tok<'s>, Fault> {
    let start = input.current_token_start();
    let quote = one_of(['\'', '"']).parse_next(input)?;
    let mut value = String::new();
    loop {
        value.push_str(take_while(0.., |c| c != quote && c != '\\').parse_next(input)?);
        match opt(any).parse_next(input)? {
            Some('\\') => match opt(any).parse_next(input)? {
                Some(escaped) if escaped == quote => value.push(quote),
                Some(plain) => value.extend(['\\', plain]),
                None => {}
            },
            Some(_) => return Ok(Tok::Text(value)),
            None => return Err(Fault::at(start, "this text has no closing quote")),
        }
    }
}

/// Digits with at most one point, and a minus before or after them.
fn number<'s>(input: &mut Input<'s>) -> Result<Tok<'s>, Fault> {
    let start = input.current_token_start();
    let before = opt('-').parse_next(input)?;
    peek(one_of('0'..='9')).parse_next(input)?;
    let digits = take_while(1.., ('0'..='9', '.')).parse_next(input)?;
    let after = if before.is_none() { opt('-').parse_next(input)? } else { None };
    let more = if after.is_some() { take_while(0.., ('0'..='9', '.')).parse_next(input)? } else { "" };
    if !more.is_empty() {
        return Err(Fault::at(start, "not a number: a minus stands before the digits or after them"));
    }
    let number = Decimal::new(before.or(after).is_some(), digits);
    number.map(Tok::Number).ok_or_else(|| Fault::at(start, "not a number: at most 28 digits with one point among them"))
}

fn sign<'s>(input: &mut Input<'s>) -> Result<Tok<'s>, Fault> {
    let known = |(text, sign)| literal::<_, Input<'s>, Fault>(text).value(Tok::Sign(sign));
    for one in SIGNS {
        if let Some(tok) = opt(known(one)).parse_next(input)? {
            return Ok(tok);
        }
    }
    winnow::combinator::fail.parse_next(input)
}

fn word<'s>(input: &mut Input<'s>) -> Result<Tok<'s>, Fault> {
    take_while(1.., |c: char| !SPACE.contains(&c) && !PUNCTUATION.contains(c)).map(Tok::Word).parse_next(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens as text, each between bars.
    fn said(text: &str) -> String {
        match tokens(text) {
            Err(fault) => fault.placed(text).to_string(),
            Ok(all) => all.iter().map(|token| show(&token.tok)).collect::<Vec<_>>().join("|"),
        }
    }

    fn show(tok: &Tok<'_>) -> String {
        match tok {
            Tok::Word(word) => (*word).to_owned(),
            Tok::Text(text) => format!("'{text}'"),
            Tok::Number(number) => number.to_string(),
            Tok::Sign(sign) => sign.text().to_owned(),
            Tok::Other(c) => format!("other {c}"),
            Tok::End => String::new(),
        }
    }

    #[test]
    fn numbers_have_one_point_and_one_minus() {
        for (text, expected) in [
            (" 2 ", "2|"),
            ("\r\n\t -5.6 ", "-5.6|"),
            ("0.789", "0.789|"),
            ("1.", "1|"),
            ("5-", "-5|"),
            ("-1-", "-1|other -|"),
            ("-1<=3", "-1|<=|3|"),
            ("-1 < = 3", "-1|<|=|3|"),
            ("-1 =< 3", "-1|=|<|3|"),
            ("-1 => 3", "-1|=|>|3|"),
            (".5", "other .|5|"),
            ("+5", "other +|5|"),
            ("1e3", "1|e3|"),
            ("--1", "other -|-1|"),
            (" 2.3.4 ", "line 1, column 2: not a number: at most 28 digits with one point among them"),
            ("1-2", "line 1, column 1: not a number: a minus stands before the digits or after them"),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }

    #[test]
    fn words_end_at_space_and_punctuation() {
        assert_eq!(said(" k$1 "), "k|other $|1|");
        assert_eq!(said("(-1 = 3) and (5 = 4)"), "(|-1|=|3|)|and|(|5|=|4|)|");
        assert_eq!(said("a&&b_c@d\\e ü"), "a&&b_c@d\\e|ü|");
        assert_eq!(said("! ~ a!=b"), "other !|other ~|a|!=|b|");
    }

    #[test]
    fn in_a_text_only_its_own_quote_is_escaped() {
        for (text, expected) in [
            (r"'/it\'s'", "'/it's'|"),
            (r#""a\"b""#, "'a\"b'|"),
            (r"'\d'", r"'\d'|"),
            (r"'\\'", r"'\\'|"),
            (r#"'a\"b'"#, r#"'a\"b'|"#),
            ("'a\n\tb'", "'a\n\tb'|"),
            ("''", "''|"),
            ("a 'b", "line 1, column 3: this text has no closing quote"),
            ("a\n  'b\\'", "line 2, column 3: this text has no closing quote"),
            ("'\\", "line 1, column 1: this text has no closing quote"),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }
}
