//! `-machine-readable`: a line per fact, `UNIX-SECONDS,TARGET,TYPE,DATA...`, as Packer writes it.
//!
//! What people read comes as `ui` lines; a build's name is then part of the text and the target is empty.

use std::io;

use jiff::Timestamp;

use super::{Level, Line, Shape, Sink};
use crate::printer::Printer;

/// Writes lines for programs. Everything goes to standard output, errors too.
pub(crate) struct Machine {
    printer: Printer,
}

impl Machine {
    pub(crate) fn new(printer: Printer) -> Self {
        Self { printer }
    }
}

impl Sink for Machine {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        if line.shape == Shape::Header {
            return Ok(());
        }
        let kind = match line.level {
            Level::Say | Level::Warning => "say",
            Level::Message => "message",
            Level::Error | Level::ScriptError => "error",
        };
        self.fact(line.at, "", "ui", &[kind, &line.prefixed()])
    }

    fn fact(&mut self, at: Timestamp, target: &str, kind: &str, args: &[&str]) -> io::Result<()> {
        let mut text = format!("{},{},{kind}", at.as_second(), escaped(target));
        for arg in args {
            text.push(',');
            text.push_str(&escaped(arg));
        }
        text.push('\n');
        self.printer.out(&text)
    }
}

fn escaped(arg: &str) -> String {
    arg.replace(',', "%!(PACKER_COMMA)").replace('\r', "\\r").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_line_is_escaped() {
        let rows = [
            ("plain", "plain"),
            ("us-west-2:ami-1,eu-west-1:ami-2", "us-west-2:ami-1%!(PACKER_COMMA)eu-west-1:ami-2"),
            ("\n==> two\r\nlines", "\\n==> two\\r\\nlines"),
        ];
        for (arg, expected) in rows {
            assert_eq!(escaped(arg), expected);
        }
    }
}
