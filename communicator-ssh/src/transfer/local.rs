//! The side of a transfer that is on this host: sources, directory trees, temporary files, the copying itself.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use builder_core::{CommunicatorError, Upload};
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::settings::limits;

/// What is read before it is written: with less, a distant sftp server waits for us.
pub(super) const BUFFER: usize = 1024 * 1024;
/// A directory deeper than this goes in circles through symbolic links.
const DEEPEST: usize = 64;

pub(super) type Reader<'a> = Box<dyn AsyncRead + Send + Unpin + 'a>;

/// Opens a source; with its size.
pub(super) async fn open(source: &Upload) -> Result<(u64, Reader<'_>), CommunicatorError> {
    match source {
        Upload::Bytes(bytes) => Ok((bytes.len() as u64, Box::new(bytes.as_slice()))),
        Upload::File(path) => {
            let refused = |e: io::Error| CommunicatorError::refused(format!("{}: {e}", path.display()));
            let file = tokio::fs::File::open(path).await.map_err(refused)?;
            let metadata = file.metadata().await.map_err(refused)?;
            if metadata.is_dir() {
                return Err(CommunicatorError::refused(format!("{} is a directory", path.display())));
            }
            Ok((metadata.len(), Box::new(file)))
        }
    }
}

/// Copies until the reader ends, and gives the number of bytes; an error if nothing moves for too long.
pub(super) async fn copy(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut copied = 0;
    loop {
        let step = async {
            let length = reader.read(&mut buffer).await?;
            writer.write_all(&buffer[..length]).await?;
            Ok::<_, io::Error>(length)
        };
        match timeout(limits::STALL, step).await {
            Ok(Ok(0)) => return Ok(copied),
            Ok(Ok(length)) => copied += length as u64,
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("nothing moved for {:?}", limits::STALL)));
            }
        }
    }
}

/// A file for a download: beside its destination, gone if it is not kept, with the mode that any new file gets.
pub(super) fn temporary_beside(local: &Path) -> Result<NamedTempFile, CommunicatorError> {
    if local.is_dir() {
        return Err(CommunicatorError::refused("the destination is a directory: name a file in it"));
    }
    let parent = local.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::Builder::new()
        .prefix(".gaia-download-")
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(parent)
        .map_err(|e| CommunicatorError::refused(format!("no file can be made in {}: {e}", parent.display())))
}

/// A directory to upload: what is in it, each directory before its contents.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) entries: Vec<Entry>,
}

/// A file or directory of a [`Tree`].
#[derive(Debug)]
pub(super) struct Entry {
    /// Where it goes, below the destination: `dir/file`.
    pub(super) to: String,
    /// The file to read; `None` for a directory.
    pub(super) file: Option<PathBuf>,
    pub(super) mode: u32,
}

impl Tree {
    /// Reads a directory by rsync's rule: with a trailing slash its contents, without it the directory itself.
    /// Symbolic links are followed.
    pub(super) async fn read(local: PathBuf) -> Result<Self, CommunicatorError> {
        let walk = move || {
            let mut tree = Self::default();
            let contents = local.as_os_str().as_encoded_bytes().ends_with(b"/");
            match local.file_name().filter(|_| !contents) {
                None => tree.add_contents(&local, "", 0)?,
                Some(name) => tree.add(&local, text(&local, name)?.to_owned(), 0)?,
            }
            Ok(tree)
        };
        tokio::task::spawn_blocking(walk).await.unwrap_or_else(|e| Err(CommunicatorError::refused(e.to_string())))
    }

    fn add_contents(&mut self, directory: &Path, to: &str, depth: usize) -> Result<(), CommunicatorError> {
        let refused = |e: io::Error| CommunicatorError::refused(format!("{}: {e}", directory.display()));
        if depth > DEEPEST {
            return Err(CommunicatorError::refused(format!(
                "{} is more than {DEEPEST} directories deep: is there a symbolic link to a directory above it?",
                directory.display()
            )));
        }
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory).map_err(refused)? {
            paths.push(entry.map_err(refused)?.path());
        }
        paths.sort();
        for path in paths {
            let name = text(&path, path.file_name().unwrap_or_default())?;
            let to = if to.is_empty() { name.to_owned() } else { format!("{to}/{name}") };
            self.add(&path, to, depth)?;
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, to: String, depth: usize) -> Result<(), CommunicatorError> {
        let refused = |why: String| CommunicatorError::refused(format!("{}: {why}", path.display()));
        let metadata = fs::metadata(path).map_err(|e| refused(e.to_string()))?;
        let mode = metadata.mode() & 0o7777;
        if metadata.is_dir() {
            self.entries.push(Entry { to: to.clone(), file: None, mode });
            self.add_contents(path, &to, depth + 1)
        } else if metadata.is_file() {
            self.entries.push(Entry { to, file: Some(path.to_owned()), mode });
            Ok(())
        } else {
            Err(refused("neither a file nor a directory".to_owned()))
        }
    }
}

fn text<'a>(path: &Path, name: &'a std::ffi::OsStr) -> Result<&'a str, CommunicatorError> {
    name.to_str().filter(|name| !name.contains('\n')).ok_or_else(|| {
        CommunicatorError::refused(format!(
            "{}: no name that can be sent (not UTF-8, or with a line end)",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_trailing_slash_means_the_contents() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("sub/empty")).unwrap();
        fs::write(top.join("sub/f"), "x").unwrap();
        fs::write(top.join("a"), "x").unwrap();
        std::os::unix::fs::symlink("sub", top.join("link")).unwrap();
        let rows = [
            (
                top.clone(),
                vec![
                    "top",
                    "top/a",
                    "top/link",
                    "top/link/empty",
                    "top/link/f",
                    "top/sub",
                    "top/sub/empty",
                    "top/sub/f",
                ],
            ),
            (
                PathBuf::from(format!("{}/", top.display())),
                vec!["a", "link", "link/empty", "link/f", "sub", "sub/empty", "sub/f"],
            ),
        ];
        for (path, expected) in rows {
            let tree = Tree::read(path.clone()).await.unwrap();
            assert_eq!(tree.entries.iter().map(|e| e.to.as_str()).collect::<Vec<_>>(), expected, "{path:?}");
        }
    }

    #[tokio::test]
    async fn circles_and_odd_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let rows = [("missing/", "No such file"), ("circle/", "directories deep"), ("odd/", "neither a file")];
        fs::create_dir(dir.path().join("circle")).unwrap();
        std::os::unix::fs::symlink(".", dir.path().join("circle/again")).unwrap();
        fs::create_dir(dir.path().join("odd")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("odd/socket")).unwrap();
        for (path, expected) in rows {
            let error = Tree::read(dir.path().join(path)).await.unwrap_err();
            // The kernel stops some circles before we do.
            assert!(error.message.contains(expected) || error.message.contains("symbolic links"), "{path}: {error}");
        }
    }
}
