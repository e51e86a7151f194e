//! Scripts before they leave this host: where they come from, and their bytes.

use std::io;
use std::path::PathBuf;

use builder_core::{BuildContext, BuildError, Deferred, Problems, RenderData, Upload};
use tokio::io::AsyncReadExt as _;

use crate::render::until_stable;

/// A text is held in memory while it is taken to the machine.
const LARGEST_TEXT: u64 = 16 << 20;

/// A binary is streamed; beyond this a shell provisioner is the wrong tool.
const LARGEST_BINARY: u64 = 4 << 30;

/// What there is to run.
#[derive(Debug)]
pub(crate) enum Scripts {
    /// One script, made from lines.
    Inline {
        lines: Vec<Deferred>,
        /// Empty if the user says nothing.
        shebang: String,
        binary: bool,
    },
    /// Files of this host, in order.
    Files(Vec<File>),
}

/// A script in a file of this host.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// The option that names it: `scripts[1]`.
    pub(crate) option: String,
    pub(crate) path: PathBuf,
    pub(crate) binary: bool,
}

/// A script that is ready to go, once its file is read.
#[derive(Debug)]
pub(crate) enum Script<'a> {
    /// The bytes made from lines, and a name to show.
    Inline(String, Vec<u8>),
    /// A file.
    File(&'a File),
}

impl Scripts {
    pub(crate) async fn preflight(&self) -> Result<(), Problems> {
        let mut problems = Problems::default();
        if let Self::Files(files) = self {
            for file in files {
                if let Err(why) = file.look().await {
                    problems.add(&file.option, why);
                }
            }
        }
        problems.ok(())
    }

    /// The scripts in order, with lines rendered; files are read later, one at a time.
    pub(crate) fn render(&self, cx: &BuildContext, data: &RenderData) -> Result<Vec<Script<'_>>, BuildError> {
        match self {
            Self::Files(files) => Ok(files.iter().map(Script::File).collect()),
            Self::Inline { lines, shebang, binary } => {
                let lines = lines.iter().map(|line| until_stable(line, cx, data)).collect::<Result<Vec<_>, _>>()?;
                let text = join(&lines, shebang);
                let bytes = if *binary { text.into_bytes() } else { unix_lines(text.into_bytes()) };
                // Packer writes these lines to a temporary file and shows its path; here they never touch a disk.
                let name = format!("/tmp/packer-shell{:010}", cx.names.below(10_000_000_000));
                Ok(vec![Script::Inline(name, bytes)])
            }
        }
    }
}

/// Lines with what runs them. A script that starts with `#!` brings its own, unless the user insists.
fn join(lines: &[String], shebang: &str) -> String {
    let own = shebang.is_empty() && lines.first().is_some_and(|line| line.starts_with("#!"));
    let shebang = if shebang.is_empty() { "/bin/sh -e" } else { shebang };
    let mut text = if own { String::new() } else { format!("#!{shebang}\n") };
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text
}

impl Script<'_> {
    /// The name to show.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Inline(name, _) => name.clone(),
            Self::File(file) => file.path.display().to_string(),
        }
    }

    /// What to upload.
    pub(crate) async fn load(&self) -> Result<Upload, BuildError> {
        match self {
            Self::Inline(_, bytes) => Ok(Upload::Bytes(bytes.clone())),
            Self::File(file) => file.load().await.map_err(BuildError::Failed),
        }
    }
}

impl File {
    /// Makes sure that it is a file that can be read and that is not too large, without waiting on a pipe or a device.
    async fn look(&self) -> Result<tokio::fs::File, String> {
        let path = self.path.display();
        let metadata =
            tokio::fs::metadata(&self.path).await.map_err(|e| self.bad(&format!("stat {path}: {}", cause(&e))))?;
        if metadata.is_dir() {
            return Err(self.bad("it is a directory, not a file"));
        }
        if !metadata.is_file() {
            return Err(self.bad("it is not a regular file"));
        }
        self.check_size(metadata.len())?;
        tokio::fs::File::open(&self.path).await.map_err(|e| self.bad(&format!("open {path}: {}", cause(&e))))
    }

    fn check_size(&self, size: u64) -> Result<(), String> {
        let (limit, advice) = if self.binary {
            (LARGEST_BINARY, "use the file provisioner for what is not a script")
        } else {
            (LARGEST_TEXT, "set \"binary\": true if it is not a text")
        };
        if size > limit {
            return Err(self.bad(&format!("it is larger than {} MiB; {advice}", limit >> 20)));
        }
        Ok(())
    }

    /// It may have changed since the preflight, so it is looked at again.
    async fn load(&self) -> Result<Upload, String> {
        let file = self.look().await?;
        if self.binary {
            return Ok(Upload::File(self.path.clone()));
        }
        let mut bytes = Vec::new();
        let read = file.take(LARGEST_TEXT + 1).read_to_end(&mut bytes).await;
        let size = read.map_err(|e| self.bad(&format!("read {}: {}", self.path.display(), cause(&e))))?;
        self.check_size(size as u64)?;
        Ok(Upload::Bytes(unix_lines(bytes)))
    }

    fn bad(&self, why: &str) -> String {
        format!("Bad script '{}': {why}", self.path.display())
    }
}

/// The system's words as Packer shows them: `no such file or directory`.
fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// CR LF becomes LF; a CR alone stays.
fn unix_lines(bytes: Vec<u8>) -> Vec<u8> {
    if !bytes.contains(&b'\r') {
        return bytes;
    }
    let mut unix = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\r' || rest.peek() != Some(&b'\n') {
            unix.push(byte);
        }
    }
    unix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carriage_returns_go_before_newlines_only() {
        let rows: [(&[u8], &[u8]); 5] =
            [(b"a\r\nb\r\n", b"a\nb\n"), (b"a\rb", b"a\rb"), (b"\r\r\n", b"\r\n"), (b"a\n", b"a\n"), (b"a\r", b"a\r")];
        for (text, expected) in rows {
            assert_eq!(unix_lines(text.to_vec()), expected);
        }
    }

    #[tokio::test]
    async fn a_bad_script_is_found_before_the_build() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("good"), "true").unwrap();
        for (name, size) in [("large", LARGEST_TEXT + 1), ("huge", LARGEST_BINARY + 1)] {
            // A sparse file: its size is all that is looked at.
            std::fs::File::create(path(name)).unwrap().set_len(size).unwrap();
        }
        let socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        let rows = [
            ("good", false, None),
            ("large", true, None),
            ("none", false, Some("stat {}: no such file or directory")),
            ("good/x", false, Some("stat {}: not a directory")),
            (".", false, Some("it is a directory, not a file")),
            ("socket", false, Some("it is not a regular file")),
            ("large", false, Some("it is larger than 16 MiB; set \"binary\": true if it is not a text")),
            ("huge", true, Some("it is larger than 4096 MiB; use the file provisioner for what is not a script")),
        ];
        for (name, binary, why) in rows {
            let path = path(name);
            let shown = path.display().to_string();
            let scripts = Scripts::Files(vec![File { option: "scripts[0]".to_owned(), path, binary }]);
            let found = scripts.preflight().await.err().map(|p| (p.0[0].path.clone(), p.0[0].message.clone()));
            let expected = why
                .map(|why| ("scripts[0]".to_owned(), format!("Bad script '{shown}': {}", why.replace("{}", &shown))));
            assert_eq!(found, expected, "{name}");
        }
        drop(socket);
    }
}
