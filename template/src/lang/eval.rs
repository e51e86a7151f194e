//! Runs a parsed text.

use std::rc::Rc;

use super::ast::{Branch, Command, Node, Operand, Pipe, Program, Term};
use super::functions::{Call, Function};
use super::packer::Scope;
use super::value::Value;
use super::{Failure, MAX_TEXT};

/// How deep blocks, parentheses and calls of templates may be nested while running.
const MAX_DEPTH: usize = 200;

/// How much work a text may be: a unit is about a byte that is looked at.
const MAX_WORK: usize = 1 << 28;

/// What a step costs beside the bytes that it handles.
const STEP: usize = 64;

pub(super) fn run(program: &Program, dot: &Value, scope: &Scope<'_>) -> Result<String, Failure> {
    let mut machine =
        Machine { program, scope, out: String::new(), variables: vec![(Rc::from(""), dot.clone())], depth: 0, work: 0 };
    machine.list(&program.body, dot)?;
    Ok(machine.out)
}

/// How a list of nodes ended.
#[derive(PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct Machine<'a> {
    program: &'a Program,
    scope: &'a Scope<'a>,
    out: String,
    /// The innermost last; the empty name is `$`.
    variables: Vec<(Rc<str>, Value)>,
    depth: usize,
    work: usize,
}

impl Machine<'_> {
    fn spend(&mut self, at: usize, amount: usize) -> Result<(), Failure> {
        self.work = self.work.saturating_add(amount);
        if self.work > MAX_WORK {
            Err(Failure::new(at, "the template takes too long: is there a loop without end?"))
        } else {
            Ok(())
        }
    }

    fn descend<T>(&mut self, at: usize, inner: impl FnOnce(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        if self.depth == MAX_DEPTH {
            return Err(Failure::new(at, format!("exceeded maximum template depth ({MAX_DEPTH})")));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn write(&mut self, at: usize, text: &str) -> Result<(), Failure> {
        if self.out.len() + text.len() > MAX_TEXT {
            return Err(Failure::new(at, format!("the rendered text is longer than {MAX_TEXT} bytes")));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn list(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, Failure> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, Failure> {
        match node {
            Node::Text(text) => self.write(0, text)?,
            Node::Action(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.targets.is_empty() {
                    let text = if value == Value::Nil { "<no value>".to_owned() } else { value.to_string() };
                    self.write(pipe.at, &text)?;
                }
            }
            Node::If(branch) | Node::With(branch) => {
                let with = matches!(node, Node::With(_));
                return self.descend(branch.pipe.at, |machine| machine.choose(branch, dot, with));
            }
            Node::Range(branch) => return self.descend(branch.pipe.at, |machine| machine.range(branch, dot)),
            Node::Template { at, name, data } => self.template(*at, name, data.as_ref(), dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    /// `if` and `with`: what the pipeline declares ends with the block.
    fn choose(&mut self, branch: &Branch, dot: &Value, with: bool) -> Result<Flow, Failure> {
        let mark = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let flow = match value.is_true() {
            true if with => self.list(&branch.then, &value)?,
            true => self.list(&branch.then, dot)?,
            false => self.list(&branch.otherwise, dot)?,
        };
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Result<Flow, Failure> {
        let outer = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let at = branch.pipe.at;
        let mut ran = false;
        let mut flow = Flow::Next;
        match &value {
            Value::Nil => {}
            Value::Int(_) if branch.pipe.targets.len() > 1 => {
                return Err(Failure::new(at, format!("can't use {value} to iterate over more than one variable")));
            }
            Value::Int(n) => {
                for i in 0..*n {
                    ran = true;
                    if self.iteration(branch, Value::Nil, &Value::Int(i))? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, element) in map.iter() {
                    ran = true;
                    if self.iteration(branch, Value::from(key.as_str()), element)? == Flow::Break {
                        break;
                    }
                }
            }
            _ => return Err(Failure::new(at, format!("range can't iterate over {value}"))),
        }
        if !ran {
            flow = self.list(&branch.otherwise, dot)?;
        }
        self.variables.truncate(outer);
        Ok(flow)
    }

    fn iteration(&mut self, branch: &Branch, index: Value, element: &Value) -> Result<Flow, Failure> {
        let pipe = &branch.pipe;
        self.spend(pipe.at, STEP)?;
        // One variable takes the element, two take index and element.
        let values = [index, element.clone()];
        for (target, value) in pipe.targets.iter().rev().zip(values.into_iter().rev()) {
            self.assign(target, value);
        }
        let mark = self.variables.len();
        let flow = self.list(&branch.then, element)?;
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn template(&mut self, at: usize, name: &str, data: Option<&Pipe>, dot: &Value) -> Result<(), Failure> {
        let program = self.program;
        let Some(nodes) = program.defined.get(name) else {
            return Err(Failure::new(at, format!("template {name:?} not defined")));
        };
        let data = data.map_or(Ok(Value::Nil), |pipe| self.pipe(pipe, dot))?;
        self.descend(at, |machine| {
            machine.spend(at, STEP)?;
            let variables = std::mem::replace(&mut machine.variables, vec![(Rc::from(""), data.clone())]);
            machine.list(nodes, &data)?;
            machine.variables = variables;
            Ok(())
        })
    }

    fn assign(&mut self, name: &str, value: Value) {
        if let Some((_, variable)) = self.variables.iter_mut().rev().find(|(n, _)| &**n == name) {
            *variable = value;
        }
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, Failure> {
        let mut piped = None;
        for command in &pipe.commands {
            piped = Some(self.command(command, dot, piped)?);
        }
        let value = piped.unwrap_or(Value::Nil);
        for target in &pipe.targets {
            if pipe.assigns {
                self.assign(target, value.clone());
            } else {
                self.variables.push((Rc::from(target.as_str()), value.clone()));
            }
        }
        Ok(value)
    }

    fn command(&mut self, command: &Command, dot: &Value, piped: Option<Value>) -> Result<Value, Failure> {
        let Command { first, arguments } = command;
        match first.term {
            Term::Function(function) if first.fields.is_empty() => self.call(first.at, function, arguments, dot, piped),
            _ if !arguments.is_empty() || piped.is_some() => {
                Err(Failure::new(first.at, "can't give argument to what is not a function"))
            }
            Term::Nil => Err(Failure::new(first.at, "nil is not a command")),
            _ => self.operand(first, dot),
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Failure> {
        self.spend(operand.at, STEP)?;
        let mut value = match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil => Value::Nil,
            Term::Literal(value) => value.clone(),
            Term::Variable(name) => {
                let variable = self.variables.iter().rev().find(|(n, _)| n == name);
                // `$x := $x`: known to the parser, and not there yet.
                let undefined = || Failure::new(operand.at, format!("undefined variable: ${name}"));
                variable.map(|(_, value)| value.clone()).ok_or_else(undefined)?
            }
            Term::Function(function) => self.call(operand.at, function, &[], dot, None)?,
            Term::Pipe(pipe) => self.descend(operand.at, |machine| machine.pipe(pipe, dot))?,
        };
        for field in &operand.fields {
            value = match value {
                Value::Nil => Value::Nil,
                Value::Map(map) => map.get(field).cloned().unwrap_or(Value::Nil),
                other => {
                    let message = format!("can't evaluate field {field} in type {}", other.type_name());
                    return Err(Failure::new(operand.at, message));
                }
            };
        }
        Ok(value)
    }

    fn call(
        &mut self,
        at: usize,
        function: Function,
        arguments: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Failure> {
        let name = function.name;
        let got = arguments.len() + usize::from(piped.is_some());
        if got < function.least || function.most.is_some_and(|most| got > most) {
            let want = match function.most {
                Some(most) if most == function.least => most.to_string(),
                Some(most) if got > most => format!("at most {most}"),
                _ => format!("at least {}", function.least),
            };
            return Err(Failure::new(at, format!("wrong number of args for {name}: want {want} got {got}")));
        }
        if let Call::And | Call::Or = function.call {
            let stop = matches!(function.call, Call::Or);
            let mut value = Value::Nil;
            for argument in arguments {
                value = self.operand(argument, dot)?;
                if value.is_true() == stop {
                    return Ok(value);
                }
            }
            return Ok(piped.unwrap_or(value));
        }
        let mut values = Vec::with_capacity(got);
        for argument in arguments {
            values.push(self.operand(argument, dot)?);
        }
        values.extend(piped);
        self.spend(at, STEP + values.iter().map(Value::weight).sum::<usize>())?;
        let value = match function.call {
            Call::Plain(call) => call(&values).map_err(super::functions::Fault::from),
            Call::Scoped(call) => call(self.scope, &values),
            Call::And | Call::Or => Ok(Value::Nil),
        };
        let value = value.map_err(|fault| Failure {
            message: format!("error calling {name}: {}", fault.message),
            offset: at,
            missing: fault.missing,
        })?;
        let weight = value.weight();
        if weight > MAX_TEXT {
            return Err(Failure::new(at, format!("error calling {name}: the text is longer than {MAX_TEXT} bytes")));
        }
        self.spend(at, weight)?;
        Ok(value)
    }
}
