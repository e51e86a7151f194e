//! Makes a [`Program`] of tokens. Function and variable names are resolved here, so that `check` finds the unknown ones.

use std::rc::Rc;

use super::ast::{Branch, Command, Node, Operand, Pipe, Program, Term};
use super::functions::{self, Function};
use super::lexer::{Kind, Lexer, Token};
use super::value::Value;
use super::{Failure, number, quote};

/// How deep parentheses and blocks may be nested.
const MAX_DEPTH: usize = 100;

const KEYWORDS: [&str; 10] = ["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"];

pub(super) fn parse(text: &str) -> Result<Program, Failure> {
    let mut parser = Parser {
        lexer: Lexer::new(text),
        ahead: Vec::new(),
        program: Program::default(),
        variables: vec![String::new()],
        depth: 0,
        ranges: 0,
    };
    parser.program.body = parser.body()?;
    Ok(parser.program)
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    /// Tokens that were looked at, the next one last.
    ahead: Vec<Token<'t>>,
    program: Program,
    /// The names in scope, without their `$`; the empty one is `$` itself.
    variables: Vec<String>,
    depth: usize,
    /// How many `range` are open.
    ranges: usize,
}

/// How a list of nodes ended.
enum Ending<'t> {
    End,
    Else,
    /// `else if`, `else with`: the keyword has been read.
    ElseDo(Token<'t>),
}

impl<'t> Parser<'t> {
    fn next(&mut self) -> Result<Token<'t>, Failure> {
        match self.ahead.pop() {
            Some(token) => Ok(token),
            None => self.lexer.next(),
        }
    }

    fn peek(&mut self) -> Result<Token<'t>, Failure> {
        let token = self.next()?;
        self.ahead.push(token);
        Ok(token)
    }

    fn next_solid(&mut self) -> Result<Token<'t>, Failure> {
        loop {
            let token = self.next()?;
            if token.kind != Kind::Space {
                return Ok(token);
            }
        }
    }

    fn peek_solid(&mut self) -> Result<Token<'t>, Failure> {
        let token = self.next_solid()?;
        self.ahead.push(token);
        Ok(token)
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<(), Failure> {
        let token = self.next_solid()?;
        if token.kind == kind { Ok(()) } else { unexpected(token, context) }
    }

    fn descend<T>(&mut self, at: usize, inner: impl FnOnce(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        if self.depth == MAX_DEPTH {
            return Err(Failure::new(at, format!("nested more than {MAX_DEPTH} levels deep")));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// The whole text; templates are defined only here, outside of every block.
    fn body(&mut self) -> Result<Vec<Node>, Failure> {
        let mut nodes = Vec::new();
        loop {
            let token = self.next()?;
            match token.kind {
                Kind::End => return Ok(nodes),
                Kind::Text => nodes.push(Node::Text(token.text.to_owned())),
                _ => {
                    let word = self.next_solid()?;
                    match word.text {
                        "define" => self.definition(word)?,
                        "end" | "else" => {
                            return Err(Failure::new(token.at, format!("unexpected {{{{{}}}}}", word.text)));
                        }
                        _ => nodes.push(self.node(word)?),
                    }
                }
            }
        }
    }

    /// The nodes up to `{{end}}` or `{{else}}`.
    fn list(&mut self) -> Result<(Vec<Node>, Ending<'t>), Failure> {
        let mut nodes = Vec::new();
        loop {
            let token = self.next()?;
            match token.kind {
                Kind::End => return Err(Failure::new(token.at, "unexpected EOF: an {{end}} is missing")),
                Kind::Text => nodes.push(Node::Text(token.text.to_owned())),
                _ => {
                    let word = self.next_solid()?;
                    match word.text {
                        "end" => {
                            self.expect(Kind::Close, "end")?;
                            return Ok((nodes, Ending::End));
                        }
                        "else" => {
                            let next = self.next_solid()?;
                            return match (next.kind, next.text) {
                                (Kind::Close, _) => Ok((nodes, Ending::Else)),
                                (_, "if" | "with") => Ok((nodes, Ending::ElseDo(next))),
                                _ => unexpected(next, "else"),
                            };
                        }
                        _ => nodes.push(self.node(word)?),
                    }
                }
            }
        }
    }

    /// An action, whose first token has been read.
    fn node(&mut self, word: Token<'t>) -> Result<Node, Failure> {
        match word.text {
            "if" => self.branch(word).map(Node::If),
            "with" => self.branch(word).map(Node::With),
            "range" => self.branch(word).map(Node::Range),
            "template" => self.template(word),
            "block" => self.block(word),
            "break" | "continue" => {
                self.expect(Kind::Close, word.text)?;
                if self.ranges == 0 {
                    return Err(Failure::new(word.at, format!("{{{{{}}}}} outside {{{{range}}}}", word.text)));
                }
                Ok(if word.text == "break" { Node::Break } else { Node::Continue })
            }
            _ => {
                self.ahead.push(word);
                self.pipe("command", Kind::Close).map(Node::Action)
            }
        }
    }

    /// `if`, `with` or `range`, up to its `end`. What it declares goes out of scope with it.
    fn branch(&mut self, keyword: Token<'t>) -> Result<Branch, Failure> {
        self.descend(keyword.at, |parser| {
            let scope = parser.variables.len();
            let pipe = parser.pipe(keyword.text, Kind::Close)?;
            let range = usize::from(keyword.text == "range");
            parser.ranges += range;
            let (then, ending) = parser.list()?;
            parser.ranges -= range;
            let otherwise = match ending {
                Ending::End => Vec::new(),
                Ending::ElseDo(next) if next.text == keyword.text => vec![parser.node(next)?],
                Ending::ElseDo(next) => return unexpected(next, "else"),
                Ending::Else => match parser.list()? {
                    (nodes, Ending::End) => nodes,
                    _ => return Err(Failure::new(keyword.at, "expected end; found {{else}}")),
                },
            };
            parser.variables.truncate(scope);
            Ok(Branch { pipe, then, otherwise })
        })
    }

    fn name(&mut self, context: &str) -> Result<(usize, String), Failure> {
        let token = self.next_solid()?;
        match token.kind {
            Kind::String | Kind::Raw => Ok((token.at, string(token)?)),
            _ => unexpected(token, context),
        }
    }

    fn definition(&mut self, word: Token<'t>) -> Result<(), Failure> {
        let (at, name) = self.name("define clause")?;
        self.expect(Kind::Close, "define clause")?;
        self.defined(word, at, name, "define clause")
    }

    fn block(&mut self, word: Token<'t>) -> Result<Node, Failure> {
        let (at, name) = self.name("block clause")?;
        let data = self.pipe("block clause", Kind::Close)?;
        self.defined(word, at, name.clone(), "block clause")?;
        Ok(Node::Template { at, name, data: Some(data) })
    }

    /// The body of a defined template: it sees no variables from outside, and no `range` is open in it.
    fn defined(&mut self, word: Token<'t>, at: usize, name: String, context: &str) -> Result<(), Failure> {
        let variables = std::mem::replace(&mut self.variables, vec![String::new()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (nodes, Ending::End) = self.descend(word.at, Self::list)? else {
            return Err(Failure::new(word.at, format!("unexpected {{{{else}}}} in {context}")));
        };
        (self.variables, self.ranges) = (variables, ranges);
        if self.program.defined.contains_key(&name) {
            return Err(Failure::new(at, format!("multiple definition of template {name:?}")));
        }
        self.program.defined.insert(name, nodes);
        Ok(())
    }

    fn template(&mut self, word: Token<'t>) -> Result<Node, Failure> {
        let (_, name) = self.name("template clause")?;
        let data = if self.peek_solid()?.kind == Kind::Close {
            self.next()?;
            None
        } else {
            Some(self.pipe("template clause", Kind::Close)?)
        };
        Ok(Node::Template { at: word.at, name, data })
    }

    /// A pipeline with its closing token.
    fn pipe(&mut self, context: &str, end: Kind) -> Result<Pipe, Failure> {
        let at = self.peek_solid()?.at;
        let mut pipe = Pipe { at, targets: Vec::new(), assigns: false, commands: Vec::new() };
        self.targets(&mut pipe, context)?;
        loop {
            let token = self.peek_solid()?;
            match token.kind {
                kind if kind == end => {
                    self.next()?;
                    break;
                }
                _ if starts_operand(token) => {
                    let command = self.command()?;
                    // Only the first command may be a plain value: it has no place for what comes through the pipe.
                    let plain = command.first.fields.is_empty()
                        && matches!(command.first.term, Term::Dot | Term::Nil | Term::Literal(_));
                    if plain && !pipe.commands.is_empty() {
                        let stage = pipe.commands.len() + 1;
                        return Err(Failure::new(
                            token.at,
                            format!("non executable command in pipeline stage {stage}"),
                        ));
                    }
                    pipe.commands.push(command);
                }
                _ => return unexpected(token, context),
            }
        }
        if pipe.commands.is_empty() { Err(Failure::new(at, format!("missing value for {context}"))) } else { Ok(pipe) }
    }

    /// `$x :=`, `$x =`, and in a `range` `$i, $x :=`.
    fn targets(&mut self, pipe: &mut Pipe, context: &str) -> Result<(), Failure> {
        loop {
            let variable = self.peek_solid()?;
            if variable.kind != Kind::Variable {
                return Ok(());
            }
            self.next()?;
            let after = self.next()?;
            let next = if after.kind == Kind::Space { self.next_solid()? } else { after };
            let name = variable.text[1..].to_owned();
            match (next.kind, next.text) {
                (Kind::Assign | Kind::Declare, _) => {
                    pipe.assigns = next.kind == Kind::Assign;
                    pipe.targets.push(name);
                    for target in &pipe.targets {
                        if !pipe.assigns {
                            self.variables.push(target.clone());
                        } else if !self.variables.contains(target) {
                            return Err(Failure::new(variable.at, format!("undefined variable \"${target}\"")));
                        }
                    }
                    return Ok(());
                }
                (Kind::Other, ",") if context == "range" && pipe.targets.is_empty() => {
                    pipe.targets.push(name);
                    let second = self.peek_solid()?;
                    if second.kind != Kind::Variable {
                        return Err(Failure::new(second.at, "range can only initialize variables"));
                    }
                }
                (Kind::Other, ",") => return Err(Failure::new(next.at, format!("too many declarations in {context}"))),
                _ => {
                    // An argument after all.
                    self.ahead.push(next);
                    if after.kind == Kind::Space {
                        self.ahead.push(after);
                    }
                    self.ahead.push(variable);
                    return Ok(());
                }
            }
        }
    }

    fn command(&mut self) -> Result<Command, Failure> {
        let first = self.operand()?;
        let mut arguments = Vec::new();
        loop {
            let token = self.next()?;
            match token.kind {
                Kind::Space if starts_operand(self.peek()?) => arguments.push(self.operand()?),
                Kind::Space => {}
                Kind::Close | Kind::RightParen => {
                    self.ahead.push(token);
                    break;
                }
                Kind::Pipe => break,
                _ => return unexpected(token, "operand"),
            }
        }
        Ok(Command { first, arguments })
    }

    fn operand(&mut self) -> Result<Operand, Failure> {
        let token = self.next_solid()?;
        let mut fields = Vec::new();
        let term = match token.kind {
            Kind::Word => match token.text {
                "true" | "false" => Term::Literal(Value::Bool(token.text == "true")),
                "nil" => Term::Nil,
                name => {
                    if name == "env" {
                        self.program.reads_environment.get_or_insert(token.at);
                    }
                    Term::Function(function(token.at, name)?)
                }
            },
            Kind::Dot => Term::Dot,
            Kind::Field => {
                fields.push(token.text[1..].to_owned());
                Term::Dot
            }
            Kind::Variable => {
                let name = &token.text[1..];
                if !self.variables.iter().any(|v| v == name) {
                    return Err(Failure::new(token.at, format!("undefined variable {:?}", token.text)));
                }
                Term::Variable(Rc::from(name))
            }
            Kind::Number => Term::Literal(number::parse(token.text).map_err(|e| Failure::new(token.at, e))?),
            Kind::Char => {
                let text = string(token)?;
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(c), None) => Term::Literal(Value::Int(i64::from(u32::from(c)))),
                    _ => return Err(Failure::new(token.at, format!("malformed character constant: {}", token.text))),
                }
            }
            Kind::String | Kind::Raw => Term::Literal(Value::from(string(token)?)),
            Kind::LeftParen => {
                let pipe = self.descend(token.at, |p| p.pipe("parenthesized pipeline", Kind::RightParen))?;
                Term::Pipe(Box::new(pipe))
            }
            _ => return unexpected(token, "operand"),
        };
        let plain = matches!(term, Term::Nil | Term::Literal(_)) || token.kind == Kind::Dot;
        while self.peek()?.kind == Kind::Field {
            let field = self.next()?;
            if plain {
                return Err(Failure::new(field.at, format!("unexpected . after term {:?}", token.text)));
            }
            fields.push(field.text[1..].to_owned());
        }
        Ok(Operand { at: token.at, term, fields })
    }
}

fn starts_operand(token: Token<'_>) -> bool {
    match token.kind {
        Kind::Word => !KEYWORDS.contains(&token.text),
        Kind::Dot
        | Kind::Field
        | Kind::Variable
        | Kind::Number
        | Kind::Char
        | Kind::String
        | Kind::Raw
        | Kind::LeftParen => true,
        _ => false,
    }
}

fn function(at: usize, name: &str) -> Result<Function, Failure> {
    functions::find(name).ok_or_else(|| {
        let near = functions::nearest(name).map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
        Failure::new(at, format!("function {name:?} not defined{near}"))
    })
}

fn string(token: Token<'_>) -> Result<String, Failure> {
    match token.kind {
        // Go drops carriage returns from raw strings.
        Kind::Raw => Ok(token.text[1..token.text.len() - 1].replace('\r', "")),
        _ => quote::unquote(token.text).map_err(|e| Failure::new(token.at, e)),
    }
}

fn unexpected<T>(token: Token<'_>, context: &str) -> Result<T, Failure> {
    let message = match token.kind {
        Kind::End => "unclosed action".to_owned(),
        Kind::Close => format!("unexpected }}}} in {context}"),
        _ => format!("unexpected {:?} in {context}", token.text),
    };
    Err(Failure::new(token.at, message))
}
