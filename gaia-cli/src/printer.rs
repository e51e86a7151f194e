//! The only thing in gaia that writes to standard output and standard error.
//!
//! Knows streams and whether they are terminals; what is written, and in which colour, is decided elsewhere.

use std::io::{self, IsTerminal as _, Read, Write};
use std::time::Duration;

/// How long to wait for room in a stream that does not block.
const FULL: Duration = Duration::from_millis(10);

/// A stream to write to.
pub(crate) struct Stream {
    pub(crate) writer: Box<dyn Write + Send>,
    /// Whether a person reads it.
    pub(crate) terminal: bool,
    /// The width of the terminal now.
    pub(crate) width: fn() -> Option<usize>,
}

/// A stream to read from.
pub(crate) struct Input {
    pub(crate) reader: Box<dyn Read + Send>,
    /// Whether a person writes it.
    pub(crate) terminal: bool,
}

/// The three streams of a process.
pub(crate) struct Io {
    pub(crate) stdin: Input,
    pub(crate) stdout: Stream,
    pub(crate) stderr: Stream,
}

impl Io {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        Self {
            stdin: Input { reader: Box::new(io::stdin()), terminal: io::stdin().is_terminal() },
            stdout: Stream {
                writer: Box::new(io::stdout()),
                terminal: io::stdout().is_terminal(),
                width: || Some(usize::from(terminal_size::terminal_size_of(io::stdout())?.0.0)),
            },
            stderr: Stream {
                writer: Box::new(io::stderr()),
                terminal: io::stderr().is_terminal(),
                width: || Some(usize::from(terminal_size::terminal_size_of(io::stderr())?.0.0)),
            },
        }
    }
}

/// How one of the two streams may be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether colour is wanted.
    pub(crate) colour: bool,
    /// The width, on a terminal.
    pub(crate) width: Option<usize>,
}

/// Writes whole lines to the two streams.
pub(crate) struct Printer {
    stdout: Stream,
    stderr: Stream,
    colour: bool,
    errors_to_stdout: bool,
}

impl Printer {
    /// A printer. `colour` is what flags and environment allow; a stream that is no terminal never gets any.
    pub(crate) fn new(stdout: Stream, stderr: Stream, colour: bool, errors_to_stdout: bool) -> Self {
        Self { stdout, stderr, colour, errors_to_stdout }
    }

    /// How standard output looks.
    pub(crate) fn out_look(&self) -> Look {
        self.look(&self.stdout)
    }

    /// How the stream for errors looks.
    pub(crate) fn err_look(&self) -> Look {
        self.look(if self.errors_to_stdout { &self.stdout } else { &self.stderr })
    }

    fn look(&self, stream: &Stream) -> Look {
        let width = if stream.terminal { (stream.width)() } else { None };
        Look { colour: self.colour && stream.terminal, width }
    }

    /// Whether standard output is a terminal.
    pub(crate) fn on_terminal(&self) -> bool {
        self.stdout.terminal
    }

    /// Writes a text to standard output.
    pub(crate) fn out(&mut self, text: &str) -> io::Result<()> {
        write(&mut self.stdout, text)
    }

    /// Writes a text to the stream for errors. Only its failure as standard output is one: there is no other place to tell of it.
    pub(crate) fn err(&mut self, text: &str) -> io::Result<()> {
        if self.errors_to_stdout {
            return self.out(text);
        }
        drop(write(&mut self.stderr, text));
        Ok(())
    }
}

/// Writes a text as one piece, so that what other processes write to the same terminal stands between lines, not in them.
fn write(stream: &mut Stream, text: &str) -> io::Result<()> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match stream.writer.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // Another process may have made the terminal that it shares with us non-blocking: that must not end a build.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::park_timeout(FULL),
            Err(e) => return Err(e),
        }
    }
    stream.writer.flush()
}

/// A text as a shell takes it for one word.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+:@%".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
