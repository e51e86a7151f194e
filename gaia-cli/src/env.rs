//! The environment variables that the command itself reads, and what it makes of them.
//!
//! Cloud credentials (`AWS_*`, `SSH_AUTH_SOCK`) are read by the plugins, and `{{env}}` by a template's variables.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where gaia keeps what has to outlive a process; the ledgers are in `ledger` below it. `--state-dir` wins over it.
pub const GAIA_STATE_DIR: &str = "GAIA_STATE_DIR";

/// The base of the default state directory: `$XDG_STATE_HOME/gaia`. Ignored if it is not absolute, as its standard says.
pub const XDG_STATE_HOME: &str = "XDG_STATE_HOME";

/// The base of the default state directory if there is no [`XDG_STATE_HOME`]: `~/.local/state/gaia`.
pub const HOME: &str = "HOME";

/// Not empty: no colour. See <https://no-color.org>.
pub const NO_COLOR: &str = "NO_COLOR";

/// Not empty: no colour. Packer's own name for it.
pub const PACKER_NO_COLOR: &str = "PACKER_NO_COLOR";

/// `dumb`: the terminal knows neither colour nor a line that is written over.
pub const TERM: &str = "TERM";

/// The variables of a process. Those that are not UTF-8 cannot be named in a template and are left out.
pub(crate) type Environment = BTreeMap<String, String>;

/// The environment that this process was started with.
pub(crate) fn of_process() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn set<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// Whether the environment lets a terminal have colour.
pub(crate) fn allows_colour(environment: &Environment) -> bool {
    set(environment, NO_COLOR).is_none() && set(environment, PACKER_NO_COLOR).is_none() && !is_dumb(environment)
}

/// Whether the terminal can do nothing but write one line after the other.
pub(crate) fn is_dumb(environment: &Environment) -> bool {
    set(environment, TERM) == Some("dumb")
}

/// The state directory: the flag, else the environment, else the default.
pub(crate) fn state_dir(flag: Option<PathBuf>, environment: &Environment) -> Result<PathBuf, String> {
    let absolute = |name| set(environment, name).map(PathBuf::from).filter(|path| path.is_absolute());
    flag.or_else(|| set(environment, GAIA_STATE_DIR).map(PathBuf::from))
        .or_else(|| absolute(XDG_STATE_HOME).map(|path| path.join("gaia")))
        .or_else(|| absolute(HOME).map(|path| path.join(".local/state/gaia")))
        .ok_or_else(|| {
            format!(
                "there is no place to record what a build makes: give --state-dir, or set {GAIA_STATE_DIR} or {HOME}"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_state_directory_is_the_most_explicit_one() {
        type Row<'a> = (Option<&'a str>, &'a [(&'a str, &'a str)], Option<&'a str>);
        let rows: [Row<'_>; 7] = [
            (Some("flag"), &[(GAIA_STATE_DIR, "/g"), (HOME, "/h")], Some("flag")),
            (None, &[(GAIA_STATE_DIR, "/g"), (XDG_STATE_HOME, "/x"), (HOME, "/h")], Some("/g")),
            (None, &[(GAIA_STATE_DIR, ""), (XDG_STATE_HOME, "/x"), (HOME, "/h")], Some("/x/gaia")),
            (None, &[(XDG_STATE_HOME, "relative"), (HOME, "/h")], Some("/h/.local/state/gaia")),
            (None, &[(HOME, "/h")], Some("/h/.local/state/gaia")),
            (None, &[(HOME, "")], None),
            (None, &[], None),
        ];
        for (flag, pairs, expected) in rows {
            let found = state_dir(flag.map(PathBuf::from), &environment(pairs)).ok();
            assert_eq!(found, expected.map(PathBuf::from), "{flag:?} {pairs:?}");
        }
    }

    #[test]
    fn colour_is_switched_off_by_any_of_three() {
        let rows = [
            (vec![], true),
            (vec![(NO_COLOR, "1")], false),
            (vec![(NO_COLOR, "")], true),
            (vec![(PACKER_NO_COLOR, "x")], false),
            (vec![(TERM, "dumb")], false),
            (vec![(TERM, "xterm")], true),
        ];
        for (pairs, expected) in rows {
            assert_eq!(allows_colour(&environment(&pairs)), expected, "{pairs:?}");
        }
    }
}
