//! How a script may end.

use builder_core::{BuildError, ExitStatus};

/// Packer's exit code for a connection that ended before the script's exit code came.
const DISCONNECTED: i64 = 2_300_218;

/// The numbers of the signals that SSH can name, for `valid_exit_codes`: a shell and Packer both count from 128.
const SIGNALS: [(&str, i64); 13] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("ABRT", 6),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
];

/// The ends that are a success.
#[derive(Debug)]
pub(crate) struct ValidExits {
    codes: Vec<i64>,
    expect_disconnect: bool,
}

impl ValidExits {
    pub(crate) fn new(codes: Vec<i64>, expect_disconnect: bool) -> Self {
        Self { codes: if codes.is_empty() { vec![0] } else { codes }, expect_disconnect }
    }

    /// Packer's texts for an end that is none of them.
    pub(crate) fn check(&self, status: &ExitStatus) -> Result<(), BuildError> {
        let what = match status {
            ExitStatus::Missing if self.expect_disconnect || self.codes.contains(&DISCONNECTED) => return Ok(()),
            ExitStatus::Missing => {
                return Err(BuildError::failed(
                    "Script disconnected unexpectedly. If you expected your script to disconnect, i.e. from a restart, you can try \
                     adding `\"expect_disconnect\": true` or `\"valid_exit_codes\": [0, 2300218]` to the shell provisioner \
                     parameters.",
                ));
            }
            ExitStatus::Code(code) if self.codes.contains(&i64::from(*code)) => return Ok(()),
            ExitStatus::Code(code) => format!("Script exited with non-zero exit status: {code}"),
            ExitStatus::Signal(name) => {
                match SIGNALS.iter().find(|(signal, _)| signal == name).map(|(_, number)| 128 + number) {
                    Some(code) if self.codes.contains(&code) => return Ok(()),
                    Some(code) => format!("Script was ended by signal {name}, exit status: {code}"),
                    None => format!("Script was ended by signal {name}"),
                }
            }
        };
        let codes: Vec<_> = self.codes.iter().map(i64::to_string).collect();
        Err(BuildError::failed(format!("{what}. Allowed exit codes are: [{}]", codes.join(" "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_judged() {
        let signal = |name: &str| ExitStatus::Signal(name.to_owned());
        let lost = "Script disconnected unexpectedly. If you expected your script to disconnect, i.e. from a restart, you can try \
                    adding `\"expect_disconnect\": true` or `\"valid_exit_codes\": [0, 2300218]` to the shell provisioner parameters.";
        let rows = [
            (vec![], false, ExitStatus::Code(0), Ok(())),
            (
                vec![],
                false,
                ExitStatus::Code(3),
                Err("Script exited with non-zero exit status: 3. Allowed exit codes are: [0]"),
            ),
            (vec![0, 3], false, ExitStatus::Code(3), Ok(())),
            (
                vec![2, 3],
                false,
                ExitStatus::Code(0),
                Err("Script exited with non-zero exit status: 0. Allowed exit codes are: [2 3]"),
            ),
            (vec![], false, ExitStatus::Missing, Err(lost)),
            (vec![], true, ExitStatus::Missing, Ok(())),
            (
                vec![],
                true,
                ExitStatus::Code(1),
                Err("Script exited with non-zero exit status: 1. Allowed exit codes are: [0]"),
            ),
            (vec![0, 2_300_218], false, ExitStatus::Missing, Ok(())),
            (
                vec![],
                true,
                signal("KILL"),
                Err("Script was ended by signal KILL, exit status: 137. Allowed exit codes are: [0]"),
            ),
            (vec![143], false, signal("TERM"), Ok(())),
            (vec![], false, signal("ODD@x"), Err("Script was ended by signal ODD@x. Allowed exit codes are: [0]")),
        ];
        for (codes, expect_disconnect, status, expected) in rows {
            let exits = ValidExits::new(codes, expect_disconnect);
            let found = exits.check(&status).map_err(|e| e.to_string());
            assert_eq!(
                found.as_ref().map_err(String::as_str),
                expected.as_ref().map_err(|e| *e),
                "{exits:?} {status:?}"
            );
        }
    }
}
