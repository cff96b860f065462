//! The language of conditions on a request: from text to something that is evaluated. What a request is, is said in
//! `route::http::request`; which route asks for what is never decided here.

mod ast;
mod compile;
mod decimal;
mod eval;
mod fault;
mod lexer;
mod parse;
#[cfg(test)]
mod tests;
mod values;
pub mod vkproxy;

use crate::route::http::request::{NeedsForm, Request};
use fault::Fault;

/// The longest statement, in bytes.
pub const LONGEST: usize = 8192;
/// How deep parentheses and `not` may be inside one another.
pub const DEEPEST: usize = 64;
/// The most regular expressions in one statement.
pub const MOST_REGEXES: usize = 32;

/// A compiled condition. Evaluating it takes time linear in what it reads, whatever the request says.
#[derive(Debug)]
pub struct Statement {
    root: eval::Node,
}

/// What is wrong with a statement, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {says}")]
pub struct StatementError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// One short sentence.
    pub says: String,
}

impl Statement {
    /// Compiles a statement.
    ///
    /// # Errors
    /// The first place that is not in the language, or has no meaning in it.
    pub fn compile(text: &str) -> Result<Self, StatementError> {
        let read = || {
            if text.len() > LONGEST {
                return Err(Fault::at(0, format!("the statement has {} bytes, more than {LONGEST}", text.len())));
            }
            compile::compile(&parse::parse(text)?)
        };
        read().map(|root| Self { root }).map_err(|fault| fault.placed(text))
    }

    /// Whether a request fulfils the condition. Parts after the one that decides are not looked at.
    ///
    /// # Errors
    /// The answer depends on the form in the body, which was not read yet.
    pub fn accepts(&self, request: &Request<'_>) -> Result<bool, NeedsForm> {
        self.root.holds(request)
    }
}
