//! The exit codes of the `gaia` command: the one place where they are given their meaning.

use std::process::ExitCode;

/// How a `gaia` command ended.
///
/// | code | meaning |
/// |---|---|
/// | 0 | everything that was asked for was done |
/// | 1 | an error, a failed or cancelled build, bad input or usage: the same as Packer's |
/// | 3 | everything that was asked for was built, but something that the build made for itself could not be taken away |
/// | 101 | a bug in gaia or in a plugin |
/// | 127 | there is no such command: the same as Packer's |
/// | 130 | left at once on the third Ctrl-C, without a clean-up |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything that was asked for was done.
    Success = 0,
    /// An error, a failed or cancelled build, bad input or usage.
    Failure = 1,
    /// Everything was built, but something is left behind: the printed `gaia cleanup` line tries again.
    LeftBehind = 3,
    /// A bug: the process panicked. Rust's runtime gives this code, no code here does.
    Bug = 101,
    /// There is no such command, or none was named.
    UnknownCommand = 127,
    /// The third Ctrl-C: left at once. The printed `gaia cleanup` lines take away what is left.
    Abandoned = 130,
}

impl Exit {
    /// The number that the process ends with.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
