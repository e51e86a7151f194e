//! Ledgers as files: one `BUILD.jsonl` per build in a directory, a record a line, each with its checksum.
//!
//! A line is `{"crc":"1a2b3c4d","record":{…}}`, the checksum being CRC-32 of the record's text. A last line that was torn by a
//! crash is cut off, and a damaged line before it is passed over. A running build holds a lock on its file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Journal, LedgerError, LedgerStore, Record, Replay, VERSION};

/// A ledger larger than this is not ours: a build writes some tens of records.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Ledgers in a directory.
#[derive(Clone, Debug)]
pub struct DirStore {
    dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    crc: String,
    #[serde(borrow)]
    record: &'a RawValue,
}

impl DirStore {
    /// A store in a directory, which is created when the first ledger is.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    fn path(&self, build_id: &str) -> PathBuf {
        self.dir.join(format!("{build_id}.jsonl"))
    }

    fn not_found(&self, build_id: &str) -> LedgerError {
        LedgerError::NotFound { build_id: build_id.to_owned(), place: self.place() }
    }

    /// A build id names a file: nothing but letters and digits.
    fn check_id(&self, build_id: &str) -> Result<(), LedgerError> {
        let plain = !build_id.is_empty() && build_id.bytes().all(|b| b.is_ascii_alphanumeric());
        if plain { Ok(()) } else { Err(self.not_found(build_id)) }
    }
}

impl LedgerStore for DirStore {
    fn create(&self, build_id: &str) -> Result<Box<dyn Journal>, LedgerError> {
        self.check_id(build_id)?;
        let path = self.path(build_id);
        let io = |doing| move |e: std::io::Error| failed(doing, &path, &e);
        create_private_dir(&self.dir).map_err(io.clone()("create"))?;
        let mut options = OpenOptions::new();
        options.append(true).create_new(true);
        private(&mut options);
        // It gets its name when it is locked: a clean-up that comes by never takes it for a dead build's.
        let unnamed = self.dir.join(format!("{build_id}.new"));
        let file = options.open(&unnamed).map_err(io.clone()("create"))?;
        lock(&file, build_id, &unnamed)?;
        std::fs::rename(&unnamed, self.path(build_id)).map_err(io.clone()("create"))?;
        // Without this the file's name may not survive a power cut.
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(io("create"))?;
        Ok(Box::new(FileJournal { file, path: self.path(build_id), good: 0 }))
    }

    fn open(&self, build_id: &str) -> Result<(Replay, Box<dyn Journal>), LedgerError> {
        self.check_id(build_id)?;
        let path = self.path(build_id);
        let mut file = match OpenOptions::new().read(true).append(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(self.not_found(build_id)),
            Err(e) => return Err(failed("read", &path, &e)),
        };
        lock(&file, build_id, &path)?;
        let (replay, good) = replay(&mut file, &path)?;
        // What follows the last good line is a torn write: the next record must not be glued to it.
        file.set_len(good).and_then(|()| file.sync_data()).map_err(|e| failed("write", &path, &e))?;
        Ok((replay, Box::new(FileJournal { file, path, good })))
    }

    fn read(&self, build_id: &str) -> Result<(Replay, bool), LedgerError> {
        self.check_id(build_id)?;
        let path = self.path(build_id);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(self.not_found(build_id)),
            Err(e) => return Err(failed("read", &path, &e)),
        };
        let running = match file.try_lock_shared() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(e)) => return Err(failed("lock", &path, &e)),
        };
        let (replay, _) = replay(&mut file, &path)?;
        Ok((replay, running))
    }

    fn list(&self) -> Result<Vec<String>, LedgerError> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed("read", &self.dir, &e)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| failed("read", &self.dir, &e))?.file_name();
            let id = name.to_str().and_then(|n| n.strip_suffix(".jsonl"));
            ids.extend(id.filter(|id| self.check_id(id).is_ok()).map(str::to_owned));
        }
        ids.sort();
        Ok(ids)
    }

    fn place(&self) -> String {
        self.dir.display().to_string()
    }
}

#[derive(Debug)]
struct FileJournal {
    file: File,
    path: PathBuf,
    /// The length up to which every line is whole.
    good: u64,
}

impl Journal for FileJournal {
    fn append(&mut self, record: &Record) -> Result<(), LedgerError> {
        let line = encode(record).map_err(|e| failed("write", &self.path, &e.into()))?;
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.good += line.len() as u64,
            // Half a line, on a full disk: the next record must not be glued to it. A file that cannot even be cut
            // is no place to write to.
            Err(_) => self.file.set_len(self.good).map_err(|e| failed("write", &self.path, &e))?,
        }
        written.map_err(|e| failed("write", &self.path, &e))
    }

    fn discard(self: Box<Self>) -> Result<(), LedgerError> {
        std::fs::remove_file(&self.path).map_err(|e| failed("remove", &self.path, &e))
    }
}

fn failed(doing: &'static str, path: &Path, cause: &std::io::Error) -> LedgerError {
    LedgerError::Io { doing, place: path.display().to_string(), cause: cause.to_string() }
}

fn lock(file: &File, build_id: &str, path: &Path) -> Result<(), LedgerError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(LedgerError::InUse { build_id: build_id.to_owned() }),
        Err(TryLockError::Error(e)) => Err(failed("lock", path, &e)),
    }
}

/// Ledgers name a user's resources: nobody else reads them.
#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn private(_options: &mut OpenOptions) {}

fn create_private_dir(dir: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(dir)
}

fn encode(record: &Record) -> Result<String, serde_json::Error> {
    let record = serde_json::value::to_raw_value(record)?;
    let crc = format!("{:08x}", crc32fast::hash(record.get().as_bytes()));
    let mut line = serde_json::to_string(&Line { crc, record: &record })?;
    line.push('\n');
    Ok(line)
}

/// Reads from the start; gives the state and the length of the good part.
fn replay(file: &mut File, path: &Path) -> Result<(Replay, u64), LedgerError> {
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.take(LARGEST).read_to_end(&mut text))
        .map_err(|e| failed("read", path, &e))?;
    let mut replay = Replay::default();
    let mut good = 0;
    for line in text.split_inclusive(|b| *b == b'\n').filter(|line| line.ends_with(b"\n")) {
        good += line.len() as u64;
        // A line that is damaged says nothing; those after it still count.
        let Some(record) = parse(line) else { continue };
        if let Record::Begin { version, .. } = record
            && version > VERSION
        {
            return Err(LedgerError::Version { place: path.display().to_string(), found: version });
        }
        replay.apply(&record);
    }
    Ok((replay, good))
}

fn parse(line: &[u8]) -> Option<Record> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let crc = u32::from_str_radix(&line.crc, 16).ok()?;
    if crc != crc32fast::hash(line.record.get().as_bytes()) {
        return None;
    }
    serde_json::from_str(line.record.get()).ok()
}
