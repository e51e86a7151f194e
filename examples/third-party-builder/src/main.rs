//! The gaia that has the build type `motd` beside all of gaia's own.

// A plugin crate that nobody names is dropped by the linker, and its registration with it.
use third_party_builder as _;

fn main() -> std::process::ExitCode {
    gaia_cli::main()
}
