//! The functions that Packer adds to Go's, and what they can see of a build.

use std::collections::BTreeMap;

use builder_core::context::Names;
use jiff::Timestamp;

use super::MAX_TEXT;
use super::functions::{Fault, int, text};
use super::layout;
use super::value::Value;

/// What every text of a run shares.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The start of the run: `timestamp` and `isotime` everywhere.
    pub start: Timestamp,
    /// The absolute folder of the template, if it comes from a file.
    pub template_dir: Option<String>,
    /// The folder that gaia was started in.
    pub working_dir: Option<String>,
    /// Randomness for `uuid`.
    pub names: Names,
}

/// What one text can see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) settings: &'a Settings,
    /// The user variables.
    pub(crate) variables: &'a BTreeMap<String, String>,
    /// The environment, for the values of variables only. Where it can be read, a variable that does not exist is an error;
    /// elsewhere it is empty.
    pub(crate) environment: Option<&'a BTreeMap<String, String>>,
    pub(crate) build_name: Option<&'a str>,
    pub(crate) build_type: Option<&'a str>,
    /// What `build` answers; empty before there is a machine.
    pub(crate) build: &'a BTreeMap<String, String>,
}

type Answer = Result<Value, Fault>;

pub(super) fn user(scope: &Scope<'_>, args: &[Value]) -> Answer {
    let name = text(args, 0)?;
    match scope.variables.get(name) {
        Some(value) => Ok(Value::from(value.as_str())),
        None if scope.environment.is_none() => Ok(Value::from("")),
        None => Err(Fault { message: format!("variable not set: {name}"), missing: Some(name.to_owned()) }),
    }
}

pub(super) fn env(scope: &Scope<'_>, args: &[Value]) -> Answer {
    let name = text(args, 0)?;
    let environment = scope.environment.ok_or("env vars are not allowed here")?;
    Ok(Value::from(environment.get(name).map_or("", String::as_str)))
}

pub(super) fn build(scope: &Scope<'_>, args: &[Value]) -> Answer {
    let name = text(args, 0)?;
    if scope.build.is_empty() {
        return Err("`build` is only available to provisioners and post-processors".into());
    }
    match scope.build.get(name) {
        Some(value) => Ok(Value::from(value.as_str())),
        None => Err(format!("loaded data, but couldnt find {name} in it.").into()),
    }
}

pub(super) fn available(value: Option<&str>, otherwise: &str) -> Answer {
    value.map(Value::from).ok_or_else(|| otherwise.into())
}

pub(super) fn consul_key(scope: &Scope<'_>, _args: &[Value]) -> Answer {
    if scope.environment.is_none() {
        return Err("consul_key is not allowed here".into());
    }
    Err(remote("consul_key"))
}

pub(super) fn vault(scope: &Scope<'_>, _args: &[Value]) -> Answer {
    if scope.environment.is_none() {
        return Err("Vault vars are only allowed in the variables section".into());
    }
    Err(remote("vault"))
}

pub(super) fn aws(scope: &Scope<'_>, name: &str) -> Answer {
    if scope.environment.is_none() {
        return Err("AWS Secrets Manager is only allowed in the variables section".into());
    }
    Err(remote(name))
}

fn remote(name: &str) -> Fault {
    format!("`{name}` reaches out to a server, which this gaia does not do yet: pass the value with -var").into()
}

pub(super) fn isotime(scope: &Scope<'_>, args: &[Value]) -> Answer {
    let layout = if args.is_empty() { "2006-01-02T15:04:05Z07:00" } else { text(args, 0)? };
    Ok(Value::from(layout::go(layout, scope.settings.start)))
}

pub(super) fn strftime(scope: &Scope<'_>, args: &[Value]) -> Answer {
    Ok(Value::from(layout::strftime(text(args, 0)?, scope.settings.start)))
}

/// 32 bits of time and 96 random ones, new each time.
pub(super) fn uuid(scope: &Scope<'_>) -> Value {
    let Settings { start, names, .. } = scope.settings;
    let (one, two) = (names.bits(), names.bits());
    let hex = format!("{:08x}{one:016x}{:08x}", start.as_second() & 0xffff_ffff, two >> 32);
    Value::from([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

pub(super) fn upper(args: &[Value]) -> Result<Value, String> {
    Ok(Value::from(text(args, 0)?.to_uppercase()))
}

pub(super) fn lower(args: &[Value]) -> Result<Value, String> {
    Ok(Value::from(text(args, 0)?.to_lowercase()))
}

/// `split text separator index`
pub(super) fn split(args: &[Value]) -> Result<Value, String> {
    let (whole, separator, index) = (text(args, 0)?, text(args, 1)?, int(args, 2)?);
    let parts: Vec<&str> = if separator.is_empty() {
        whole.char_indices().map(|(at, c)| &whole[at..at + c.len_utf8()]).collect()
    } else {
        whole.split(separator).collect()
    };
    let part = usize::try_from(index).ok().and_then(|n| parts.get(n));
    part.map(|part| Value::from(*part)).ok_or_else(|| {
        format!(
            "the substring {index} was unavailable using the separator value, {separator}, only {} values were found",
            parts.len()
        )
    })
}

/// `replace old new times text`; a negative number of times means all.
pub(super) fn replace(args: &[Value]) -> Result<Value, String> {
    let times = usize::try_from(int(args, 2)?).unwrap_or(usize::MAX);
    replaced(text(args, 0)?, text(args, 1)?, times, text(args, 3)?)
}

/// `replace_all old new text`
pub(super) fn replace_all(args: &[Value]) -> Result<Value, String> {
    replaced(text(args, 0)?, text(args, 1)?, usize::MAX, text(args, 2)?)
}

fn replaced(old: &str, new: &str, times: usize, source: &str) -> Result<Value, String> {
    let count = source.matches(old).take(times).count();
    if source.len().saturating_add(count.saturating_mul(new.len())) > MAX_TEXT {
        return Err(format!("the text is longer than {MAX_TEXT} bytes"));
    }
    Ok(Value::from(source.replacen(old, new, times)))
}

pub(super) fn sed(_args: &[Value]) -> Result<Value, String> {
    Err("template function `sed` is deprecated: use `replace` or `replace_all` instead".to_owned())
}

/// What an AMI's name cannot hold becomes `-`, byte by byte as in Packer's amazon plugin.
pub(super) fn clean_resource_name(args: &[Value]) -> Result<Value, String> {
    let clean = text(args, 0)?
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b"()[] ./-'@_".contains(&b) { char::from(b) } else { '-' });
    Ok(Value::from(clean.collect::<String>()))
}
