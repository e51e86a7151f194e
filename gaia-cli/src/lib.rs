//! The gaia command: flags, renderers of events, exit codes
