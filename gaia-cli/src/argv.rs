//! Packer's way to write flags, turned into the one that clap reads: `-var-file x` becomes `--var-file=x`.
//!
//! A flag that takes a value takes the next argument whatever it looks like, as in Packer. Knows no flag by name.

use std::ffi::{OsStr, OsString};

/// Rewrites the arguments after the program's name; `takes_value` knows the long flags that need a value.
pub(crate) fn rewrite(
    arguments: impl IntoIterator<Item = OsString>,
    takes_value: impl Fn(&str) -> bool,
) -> Vec<OsString> {
    let mut arguments = arguments.into_iter();
    let mut rewritten = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            rewritten.push(argument);
            rewritten.extend(arguments);
            break;
        }
        let Some((dashes, name)) = flag(&argument) else {
            rewritten.push(argument);
            continue;
        };
        let (name, has_value) = match name.split_once('=') {
            Some((name, _)) => (name.to_owned(), true),
            None => (name, false),
        };
        let mut long = OsString::from(if dashes == 1 { "-" } else { "" });
        long.push(&argument);
        if !has_value
            && takes_value(&name)
            && let Some(value) = arguments.next()
        {
            long.push("=");
            long.push(value);
        }
        rewritten.push(long);
    }
    // Packer's other ways to ask for the version.
    if let Some(first) = rewritten.first_mut().filter(|first| *first == "-v" || *first == "--version") {
        *first = "version".into();
    }
    rewritten
}

/// The number of dashes and the rest, if this is a long flag with one or two dashes.
fn flag(argument: &OsStr) -> Option<(usize, String)> {
    let text = argument.to_string_lossy();
    let name = text.trim_start_matches('-');
    let dashes = text.len() - name.len();
    let first = name.chars().next()?;
    // `-h` and `-v` are flags of their own, and `-5` is a number.
    let short = dashes == 1 && (name.chars().nth(1).is_none_or(|c| c == '=') || first.is_ascii_digit());
    (first != '=' && matches!(dashes, 1 | 2) && !short).then(|| (dashes, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_get_two_dashes_and_their_value_and_nothing_else_changes() {
        let rows: [(&[&str], &[&str]); 20] = [
            (&["build", "-var-file=x", "t"], &["build", "--var-file=x", "t"]),
            (&["build", "-var-file", "x", "t"], &["build", "--var-file=x", "t"]),
            (&["build", "--var-file", "x", "t"], &["build", "--var-file=x", "t"]),
            (&["build", "--var-file=x", "t"], &["build", "--var-file=x", "t"]),
            (&["build", "t", "-var", "a=b"], &["build", "t", "--var=a=b"]),
            (&["build", "-var", "-x=-y", "t"], &["build", "--var=-x=-y", "t"]),
            (&["build", "-var", "-force", "-force"], &["build", "--var=-force", "--force"]),
            (&["build", "-var", "--", "t"], &["build", "--var=--", "t"]),
            (&["build", "-var="], &["build", "--var="]),
            (&["build", "-color=false", "-force", "t"], &["build", "--color=false", "--force", "t"]),
            (&["build", "-parallel-builds", "-1"], &["build", "--parallel-builds=-1"]),
            (&["build", "-5", "-"], &["build", "-5", "-"]),
            (&["build", "-h"], &["build", "-h"]),
            (&["build", "-v"], &["build", "-v"]),
            (&["build", "--", "-var", "x"], &["build", "--", "-var", "x"]),
            (&["-machine-readable", "version"], &["--machine-readable", "version"]),
            (&["-v"], &["version"]),
            (&["--version"], &["version"]),
            (&["-version"], &["version"]),
            (&["build", "-var"], &["build", "--var"]),
        ];
        for (typed, expected) in rows {
            let takes_value = |name: &str| ["var", "var-file", "parallel-builds"].contains(&name);
            assert_eq!(rewrite(typed.iter().map(OsString::from), takes_value), expected, "{typed:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_utf8_survives() {
        use std::os::unix::ffi::OsStrExt as _;
        let typed =
            [OsStr::from_bytes(b"-var-file"), OsStr::from_bytes(b"\xff.json"), OsStr::from_bytes(b"-only=\xfe")];
        let rewritten = rewrite(typed.map(OsStr::to_owned), |name| name == "var-file");
        assert_eq!(rewritten, [OsStr::from_bytes(b"--var-file=\xff.json"), OsStr::from_bytes(b"--only=\xfe")]);
    }
}
