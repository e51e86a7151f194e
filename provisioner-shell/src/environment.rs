//! The variables that a script finds in its environment, as text for a shell.

use std::collections::BTreeMap;

use builder_core::{BuildContext, BuildError, Deferred, DeferredMap, Machine, Problems, RenderData};

use crate::render::until_stable;

/// Variables of a build with an HTTP server, and the build data that they come from.
const HTTP: [(&str, &str); 3] = [
    ("PACKER_HTTP_ADDR", "PackerHTTPAddr"),
    ("PACKER_HTTP_IP", "PackerHTTPIP"),
    ("PACKER_HTTP_PORT", "PackerHTTPPort"),
];

/// What the template says of the environment.
#[derive(Debug)]
pub(crate) struct Environment {
    /// `name=value` each.
    pub(crate) vars: Vec<Deferred>,
    /// Win over `vars`.
    pub(crate) map: DeferredMap,
    pub(crate) format: Format,
}

impl Environment {
    /// Finds the variables that no value of a template can put right.
    pub(crate) fn check(&self, problems: &mut Problems) {
        let fixed = |text: &Deferred| !text.template.contains("{{");
        for (i, var) in self.vars.iter().enumerate().filter(|(_, var)| fixed(var)) {
            if let Err(why) = split(&var.template) {
                problems.add(format!("environment_vars[{i}]"), why);
            }
        }
        for name in self.map.keys().filter(|name| fixed(name)) {
            if let Err(why) = check_name(&name.template) {
                problems.add("env", why);
            }
        }
    }

    /// Every variable in the format of the config, sorted by name.
    pub(crate) fn render(&self, cx: &BuildContext, machine: &Machine, data: &RenderData) -> Result<String, BuildError> {
        let mut variables = BTreeMap::from([
            ("PACKER_BUILD_NAME".to_owned(), cx.build_name.to_string()),
            ("PACKER_BUILDER_TYPE".to_owned(), cx.build_type.to_string()),
        ]);
        for (name, key) in HTTP {
            if let Some(value) = machine.build_vars.get(key) {
                variables.insert(name.to_owned(), value.clone());
            }
        }
        for var in &self.vars {
            let text = until_stable(var, cx, data)?;
            let (name, value) = split(&text).map_err(BuildError::Failed)?;
            variables.insert(name.to_owned(), value.to_owned());
        }
        for (name, value) in &self.map {
            let (name, value) = (until_stable(name, cx, data)?, until_stable(value, cx, data)?);
            check_name(&name).map_err(BuildError::Failed)?;
            variables.insert(name, value);
        }
        Ok(variables.iter().map(|(name, value)| self.format.write(name, &value.replace('\'', r#"'"'"'"#))).collect())
    }
}

fn split(text: &str) -> Result<(&str, &str), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        _ => Err(format!("Environment variable not in format 'key=value': {text}")),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.contains('=') {
        return Err(format!("an environment variable cannot be called \"{name}\""));
    }
    Ok(())
}

/// An `env_var_format`: Go's `%s` for the name, then for the value.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Format {
    before: String,
    between: String,
    after: String,
}

impl Format {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "env_var_format must hold %s twice, for name and value (and %% for a percent sign), found \"{text}\""
            )
        };
        let mut pieces = vec![String::new()];
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let literal = match c {
                '%' => match chars.next() {
                    Some('%') => '%',
                    Some('s' | 'v') => {
                        pieces.push(String::new());
                        continue;
                    }
                    _ => return Err(wrong()),
                },
                c => c,
            };
            if let Some(piece) = pieces.last_mut() {
                piece.push(literal);
            }
        }
        let [before, between, after] = <[String; 3]>::try_from(pieces).map_err(|_| wrong())?;
        Ok(Self { before, between, after })
    }

    fn write(&self, name: &str, value: &str) -> String {
        let Self { before, between, after } = self;
        format!("{before}{name}{between}{value}{after}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_holds_two_places() {
        let rows = [
            ("%s='%s' ", Some("A='b' ")),
            ("export %s='%s'\n", Some("export A='b'\n")),
            ("env %v=%v%%;", Some("env A=b%;")),
            ("%s=x", None),
            ("%s=%s %s", None),
            ("%s=%d", None),
            ("%s=%s%", None),
            ("", None),
        ];
        for (format, expected) in rows {
            assert_eq!(Format::parse(format).ok().map(|f| f.write("A", "b")).as_deref(), expected, "{format}");
        }
    }
}
