//! A statement as it was written: what the parser yields and the compiler reads. Has no meaning of its own.

use super::decimal::Decimal;

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expr {
    /// At least one holds.
    Any(Vec<Expr>),
    /// All hold.
    All(Vec<Expr>),
    Not(Box<Expr>),
    Test(Test),
}

/// A field and what it is compared with. The field is the left side, whichever way it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) field: Field,
    pub(super) op: Op,
    /// The offset of the operator.
    pub(super) at: usize,
    /// One value; one or more for [`Op::In`].
    pub(super) values: Vec<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) at: usize,
    pub(super) name: String,
    /// What is in the parentheses behind the name, with its offset.
    pub(super) key: Option<(usize, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) at: usize,
    pub(super) constant: Constant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Constant {
    Text(String),
    Number(Decimal),
    Bool(bool),
    Null,
}

/// The operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Matches,
    In,
}

impl Op {
    /// The operator that says the same when the sides change places.
    pub(super) const fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::AtMost => Self::AtLeast,
            Self::Greater => Self::Less,
            Self::AtLeast => Self::AtMost,
            Self::Equal | Self::NotEqual | Self::Matches | Self::In => self,
        }
    }
}
