//! For this crate's tests: streams in memory.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::printer::{Input, Io, Stream};

/// What was written to a stream. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    /// All of it, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// A stream that is written down here.
    pub(crate) fn stream(&self, terminal: bool) -> Stream {
        Stream { writer: Box::new(self.clone()), terminal, width: || Some(60) }
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The reader went away.
#[derive(Debug)]
pub(crate) struct Gone;

impl Gone {
    pub(crate) fn stream() -> Stream {
        Stream { writer: Box::new(Self), terminal: false, width: || None }
    }
}

impl Write for Gone {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Streams in memory, and what is written to them.
pub(crate) fn io(stdin: &'static str, terminal: bool) -> (Io, Written, Written) {
    let (stdout, stderr) = (Written::default(), Written::default());
    let io = Io {
        stdin: Input { reader: Box::new(stdin.as_bytes()), terminal },
        stdout: stdout.stream(terminal),
        stderr: stderr.stream(terminal),
    };
    (io, stdout, stderr)
}
