//! The `gaia` binary: everything is in the library, so that a third party's binary can be as short as this one.

fn main() -> std::process::ExitCode {
    gaia_cli::main()
}
