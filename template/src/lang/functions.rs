//! The functions that a template can call, by name.

use super::packer::{self, Scope};
use super::value::Value;
use super::{builtins, format};

/// A function.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) name: &'static str,
    /// The fewest arguments.
    pub(super) least: usize,
    /// The most arguments; `None` for any number.
    pub(super) most: Option<usize>,
    pub(super) call: Call,
}

pub(super) type Function = &'static Definition;

/// How a function is called.
#[derive(Debug)]
pub(super) enum Call {
    /// Its arguments are evaluated until one is false.
    And,
    /// Its arguments are evaluated until one is true.
    Or,
    /// By its arguments alone.
    Plain(fn(&[Value]) -> Result<Value, String>),
    /// By its arguments and what the template can see of its build.
    Scoped(fn(&Scope<'_>, &[Value]) -> Result<Value, Fault>),
}

/// Why a function failed.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    /// The user variable that is not there.
    pub(super) missing: Option<String>,
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self { message, missing: None }
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

const fn plain(
    name: &'static str,
    least: usize,
    most: Option<usize>,
    call: fn(&[Value]) -> Result<Value, String>,
) -> Definition {
    Definition { name, least, most, call: Call::Plain(call) }
}

const fn scoped(
    name: &'static str,
    least: usize,
    most: usize,
    call: fn(&Scope<'_>, &[Value]) -> Result<Value, Fault>,
) -> Definition {
    Definition { name, least, most: Some(most), call: Call::Scoped(call) }
}

/// Sorted by name.
static FUNCTIONS: [Definition; 42] = [
    Definition { name: "and", least: 1, most: None, call: Call::And },
    scoped("aws_secretsmanager", 1, 2, |scope, _| packer::aws(scope, "aws_secretsmanager")),
    scoped("aws_secretsmanager_raw", 1, 1, |scope, _| packer::aws(scope, "aws_secretsmanager_raw")),
    scoped("build", 1, 1, packer::build),
    scoped("build_name", 0, 0, |scope, _| packer::available(scope.build_name, "build_name not available")),
    scoped("build_type", 0, 0, |scope, _| packer::available(scope.build_type, "build_type not available")),
    plain("call", 1, None, builtins::call),
    plain("clean_resource_name", 1, Some(1), packer::clean_resource_name),
    scoped("consul_key", 1, 1, packer::consul_key),
    scoped("env", 1, 1, packer::env),
    plain("eq", 1, None, builtins::eq),
    plain("ge", 2, Some(2), builtins::ge),
    plain("gt", 2, Some(2), builtins::gt),
    plain("html", 0, None, builtins::html),
    plain("index", 1, None, builtins::index),
    scoped("isotime", 0, 1, packer::isotime),
    plain("js", 0, None, builtins::js),
    plain("le", 2, Some(2), builtins::le),
    plain("len", 1, Some(1), builtins::len),
    plain("lower", 1, Some(1), packer::lower),
    plain("lt", 2, Some(2), builtins::lt),
    plain("ne", 2, Some(2), builtins::ne),
    plain("not", 1, Some(1), |args| Ok(Value::Bool(!args[0].is_true()))),
    Definition { name: "or", least: 1, most: None, call: Call::Or },
    scoped("packer_version", 0, 0, |_, _| Ok(Value::from(crate::PACKER_VERSION))),
    plain("print", 0, None, |args| format::print(args).map(Value::from)),
    plain("printf", 1, None, builtins::printf),
    plain("println", 0, None, |args| format::println(args).map(Value::from)),
    scoped("pwd", 0, 0, |scope, _| {
        packer::available(scope.settings.working_dir.as_deref(), "working directory not available")
    }),
    plain("replace", 4, Some(4), packer::replace),
    plain("replace_all", 3, Some(3), packer::replace_all),
    plain("sed", 2, Some(2), packer::sed),
    plain("slice", 1, None, builtins::slice),
    plain("split", 3, Some(3), packer::split),
    scoped("strftime", 1, 1, packer::strftime),
    scoped("template_dir", 0, 0, |scope, _| {
        packer::available(scope.settings.template_dir.as_deref(), "template path not available")
    }),
    scoped("timestamp", 0, 0, |scope, _| Ok(Value::from(scope.settings.start.as_second().to_string()))),
    plain("upper", 1, Some(1), packer::upper),
    plain("urlquery", 0, None, builtins::urlquery),
    scoped("user", 1, 1, packer::user),
    scoped("uuid", 0, 0, |scope, _| Ok(packer::uuid(scope))),
    scoped("vault", 2, 2, packer::vault),
];

/// The function with a name.
pub(super) fn find(name: &str) -> Option<Function> {
    FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().map(|n| &FUNCTIONS[n])
}

/// The function that was probably meant.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    builder_core::source::nearest(name, FUNCTIONS.iter().map(|f| f.name))
}

/// The text of an argument.
pub(super) fn text(args: &[Value], n: usize) -> Result<&str, String> {
    match &args[n] {
        Value::String(text) => Ok(text),
        Value::Nil => Err("invalid value; expected string".to_owned()),
        other => Err(format!("wrong type for value; expected string; got {}", other.type_name())),
    }
}

/// The whole number of an argument.
pub(super) fn int(args: &[Value], n: usize) -> Result<i64, String> {
    match &args[n] {
        Value::Int(n) => Ok(*n),
        Value::Nil => Err("invalid value; expected int".to_owned()),
        other => Err(format!("wrong type for value; expected int; got {}", other.type_name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
    }
}
