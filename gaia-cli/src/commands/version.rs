//! `gaia version`

use crate::exit_code::Exit;
use crate::session::Session;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Says the version. Machines get Packer's three facts, of which gaia has one.
pub(crate) fn run(mut session: Session) -> Exit {
    let ui = &mut session.ui;
    ui.fact(None, "", "version", &[VERSION]);
    // Packer's own spelling.
    ui.fact(None, "", "version-prelease", &[""]);
    ui.fact(None, "", "version-commit", &[""]);
    ui.say(&format!("Gaia v{VERSION}"));
    session.exit(Exit::Success)
}
