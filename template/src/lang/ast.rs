//! What the parser makes of a text.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::functions::Function;
use super::value::Value;

/// A parsed text: its body, and the templates that it defines.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) body: Vec<Node>,
    pub(super) defined: BTreeMap<String, Vec<Node>>,
    /// Where the text first reads the environment, which only the values of variables may.
    pub(super) reads_environment: Option<usize>,
}

#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template { at: usize, name: String, data: Option<Pipe> },
    Break,
    Continue,
}

/// The parts of `if`, `with` and `range`.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) pipe: Pipe,
    pub(super) then: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// `$a, $b := command | command`
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) at: usize,
    /// The variables on the left.
    pub(super) targets: Vec<String>,
    /// `=`, not `:=`
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// An operand and its arguments.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) first: Operand,
    pub(super) arguments: Vec<Operand>,
}

/// A term and the fields that are taken of it: `.A.B` is the dot with two fields.
#[derive(Debug)]
pub(super) struct Operand {
    pub(super) at: usize,
    pub(super) term: Term,
    pub(super) fields: Vec<String>,
}

#[derive(Debug)]
pub(super) enum Term {
    Dot,
    Nil,
    /// A boolean, a number or a string.
    Literal(Value),
    /// Without its `$`.
    Variable(Rc<str>),
    Function(Function),
    Pipe(Box<Pipe>),
}
