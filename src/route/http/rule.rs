//! What a route asks for besides host and path without case, compiled: methods, case and a statement. They only ever refuse a candidate.

use super::cased::Cased;
use super::request::{NeedsForm, Request};
use crate::model::RouteMatch;
use crate::route::statement::{Statement, StatementError};

/// The filters of a route.
#[derive(Debug)]
pub struct Rule {
    /// Any method when empty.
    methods: Box<[Box<str>]>,
    cased: Option<Box<Cased>>,
    statement: Option<Statement>,
}

impl Rule {
    /// Compiles the filters of a route. A blank statement is none.
    ///
    /// # Errors
    /// The statement is not in the language.
    pub fn compile(matching: &RouteMatch) -> Result<Self, StatementError> {
        let text = matching.statement.as_deref().filter(|text| !text.trim_ascii().is_empty());
        let statement = text.map(Statement::compile).transpose()?;
        let methods = matching.methods.iter().map(|m| m.as_str().into()).collect();
        Ok(Self { methods, cased: Cased::of(matching).map(Box::new), statement })
    }

    /// Whether the filters let a request pass.
    ///
    /// # Errors
    /// The answer depends on the form in the body, which was not read yet.
    pub fn accepts(&self, request: &Request<'_>) -> Result<bool, NeedsForm> {
        if !self.methods.is_empty() && !self.methods.iter().any(|m| m.eq_ignore_ascii_case(request.method)) {
            return Ok(false);
        }
        if self.cased.as_ref().is_some_and(|cased| !cased.takes(request)) {
            return Ok(false);
        }
        self.statement.as_ref().map_or(Ok(true), |statement| statement.accepts(request))
    }
}
