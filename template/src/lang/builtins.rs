//! The functions that Go's text/template brings along.

use std::cmp::Ordering;

use super::functions::{int, text};
use super::quote::is_printable;
use super::value::Value;
use super::{append, format};

pub(super) fn printf(args: &[Value]) -> Result<Value, String> {
    format::printf(text(args, 0)?, &args[1..]).map(Value::from)
}

/// No value of a template is a function.
pub(super) fn call(args: &[Value]) -> Result<Value, String> {
    Err(match &args[0] {
        Value::Nil => "call of nil".to_owned(),
        other => format!("non-function of type {}", other.type_name()),
    })
}

fn equal(left: &Value, right: &Value) -> Result<bool, String> {
    if let Value::Map(_) = left {
        return Err(format!("non-comparable type {left}: {}", left.type_name()));
    }
    let comparable = std::mem::discriminant(left) == std::mem::discriminant(right);
    if comparable || *left == Value::Nil || *right == Value::Nil {
        Ok(left == right)
    } else {
        Err("incompatible types for comparison".to_owned())
    }
}

/// Whether the first is equal to one of the others.
pub(super) fn eq(args: &[Value]) -> Result<Value, String> {
    let [first, others @ ..] = args else { return Err("missing argument for comparison".to_owned()) };
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

pub(super) fn ne(args: &[Value]) -> Result<Value, String> {
    equal(&args[0], &args[1]).map(|yes| Value::Bool(!yes))
}

/// `None` where one of the two is not a number.
fn order(args: &[Value]) -> Result<Option<Ordering>, String> {
    match (&args[0], &args[1]) {
        (Value::Int(left), Value::Int(right)) => Ok(Some(left.cmp(right))),
        (Value::Float(left), Value::Float(right)) => Ok(left.partial_cmp(right)),
        (Value::String(left), Value::String(right)) => Ok(Some(left.cmp(right))),
        (Value::Int(_) | Value::Float(_) | Value::String(_), Value::Int(_) | Value::Float(_) | Value::String(_)) => {
            Err("incompatible types for comparison".to_owned())
        }
        _ => Err("invalid type for comparison".to_owned()),
    }
}

pub(super) fn lt(args: &[Value]) -> Result<Value, String> {
    order(args).map(|o| Value::Bool(o.is_some_and(Ordering::is_lt)))
}

pub(super) fn le(args: &[Value]) -> Result<Value, String> {
    order(args).map(|o| Value::Bool(o.is_some_and(Ordering::is_le)))
}

pub(super) fn gt(args: &[Value]) -> Result<Value, String> {
    order(args).map(|o| Value::Bool(o.is_some_and(Ordering::is_gt)))
}

pub(super) fn ge(args: &[Value]) -> Result<Value, String> {
    order(args).map(|o| Value::Bool(o.is_some_and(Ordering::is_ge)))
}

pub(super) fn len(args: &[Value]) -> Result<Value, String> {
    let length = match &args[0] {
        Value::String(text) => text.len(),
        Value::Map(map) => map.len(),
        Value::Nil => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// The byte of a string, or the value behind a map's key.
pub(super) fn index(args: &[Value]) -> Result<Value, String> {
    let mut value = args[0].clone();
    if value == Value::Nil {
        return Err("index of untyped nil".to_owned());
    }
    for n in 1..args.len() {
        value = match &value {
            Value::Map(map) => map.get(text(args, n)?).cloned().unwrap_or_else(|| Value::from("")),
            Value::String(bytes) => {
                let at =
                    int(args, n).map_err(|_| format!("cannot index slice/array with type {}", args[n].type_name()))?;
                let byte = usize::try_from(at).ok().and_then(|at| bytes.as_bytes().get(at).copied());
                Value::Int(i64::from(byte.ok_or_else(|| format!("index out of range: {at}"))?))
            }
            Value::Nil => return Err("index of untyped nil".to_owned()),
            other => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(value)
}

/// The bytes of a string from one index up to another.
pub(super) fn slice(args: &[Value]) -> Result<Value, String> {
    let source = match &args[0] {
        Value::String(text) => text,
        Value::Nil => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    if args.len() > 3 {
        return Err("cannot 3-index slice a string".to_owned());
    }
    let mut bounds = [0, source.len()];
    for n in 1..args.len() {
        let at = int(args, n).map_err(|_| format!("cannot index slice/array with type {}", args[n].type_name()))?;
        let within = usize::try_from(at).ok().filter(|at| *at <= source.len());
        bounds[n - 1] = within.ok_or_else(|| format!("index out of range: {at}"))?;
    }
    let [from, to] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    source.get(from..to).map(Value::from).ok_or_else(|| "an index is inside a character".to_owned())
}

fn escaped(args: &[Value], escape: impl Fn(char, &mut String)) -> Result<Value, String> {
    let text = format::print(args)?;
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| escape(c, &mut out));
    Ok(Value::from(out))
}

pub(super) fn html(args: &[Value]) -> Result<Value, String> {
    escaped(args, |c, out| match c {
        '\0' => out.push('\u{fffd}'),
        '"' => out.push_str("&#34;"),
        '\'' => out.push_str("&#39;"),
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        _ => out.push(c),
    })
}

pub(super) fn js(args: &[Value]) -> Result<Value, String> {
    escaped(args, |c, out| match c {
        '\\' | '\'' | '"' => out.extend(['\\', c]),
        '<' | '>' | '&' | '=' => append(out, format_args!("\\u{:04X}", u32::from(c))),
        _ if is_printable(c) => out.push(c),
        _ => append(out, format_args!("\\u{:04X}", u32::from(c))),
    })
}

pub(super) fn urlquery(args: &[Value]) -> Result<Value, String> {
    escaped(args, |c, out| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' | '~' => out.push(c),
        ' ' => out.push('+'),
        _ => c.encode_utf8(&mut [0; 4]).bytes().for_each(|b| append(out, format_args!("%{b:02X}"))),
    })
}
