//! Copying by sftp: many writes on their way at once, so that distance costs little.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use builder_core::{CommunicatorError, Upload};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use russh_sftp::client::error::Error;
use russh_sftp::client::{Config, SftpSession};
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::local::{self, Tree};
use super::{Job, Trouble};
use crate::communicator::SshCommunicator;
use crate::exec::{Reply, reply};
use crate::session::Session;
use crate::settings::limits;

/// 64 writes of 255 KiB fill a line of 1 Gbit/s over 130 ms; OpenSSH takes no larger write.
const WRITES: usize = 64;
const WRITE: u32 = 255 * 1024;
/// Files of a directory that are copied at once: small ones spend their time on answers.
const FILES: usize = 8;

/// Does a job over a channel of its own.
pub(super) async fn run(ssh: &SshCommunicator, job: Job<'_>) -> Result<(), Trouble> {
    let sftp = Sftp::open(ssh).await?;
    match job {
        Job::Upload { source, remote, mode } => sftp.upload(source, remote, mode).await?,
        Job::UploadDir { tree, remote } => sftp.upload_tree(tree, remote).await?,
        Job::Download { remote, to } => sftp.download(remote, to).await?,
    }
    Ok(())
}

struct Sftp {
    client: SftpSession,
    session: Arc<Session>,
}

impl Sftp {
    async fn open(ssh: &SshCommunicator) -> Result<Self, Trouble> {
        if ssh.no_sftp.load(Ordering::Relaxed) {
            return Err(Trouble::Absent("no sftp".to_owned()));
        }
        let absent = |why: &str| {
            ssh.no_sftp.store(true, Ordering::Relaxed);
            Trouble::Absent(why.to_owned())
        };
        let what = "starting sftp";
        let mut running = ssh.channel().await?;
        let session = running.session();
        let channel = &mut running.live()?.channel;
        channel.request_subsystem(true, "sftp").await.map_err(|e| session.channel_error(what, &e))?;
        match reply(channel, &session, what).await {
            Ok(Reply::Yes) => {}
            Err(error) if error.lost => return Err(error.into()),
            Ok(Reply::No) | Err(_) => return Err(absent("its sshd has no sftp subsystem")),
        }
        // The stream closes the channel from here on.
        let Some(channel) = running.finished() else { return Err(absent("no channel")) };
        let config = Config {
            max_concurrent_writes: WRITES,
            max_write_packet_len: WRITE,
            // Counted from when a write is queued behind all others, so not the time of one answer.
            request_timeout_secs: limits::STALL.as_secs(),
            ..Config::default()
        };
        match timeout(limits::REPLY, SftpSession::new_with_config(channel.into_stream(), config)).await {
            Ok(Ok(client)) => Ok(Self { client, session }),
            Ok(Err(_)) if !session.is_closed() => Err(absent("its sftp server does not start")),
            Ok(Err(error)) => Err(CommunicatorError::lost(format!("{what}: {error}")).into()),
            Err(_) => Err(CommunicatorError::lost(format!("{what}: no answer within {:?}", limits::REPLY)).into()),
        }
    }

    fn failed(&self, error: &Error) -> CommunicatorError {
        let message = match error {
            Error::Status(status) => match status.status_code {
                StatusCode::NoSuchFile => "no such file or directory".to_owned(),
                StatusCode::PermissionDenied => "permission denied".to_owned(),
                StatusCode::Failure => {
                    "the sftp server says no more than `Failure` (a directory of that name? a full disk?)".to_owned()
                }
                _ if status.error_message.is_empty() => status.status_code.to_string().to_lowercase(),
                _ => status.error_message.clone(),
            },
            other => other.to_string(),
        };
        CommunicatorError { message, lost: self.session.is_closed() }
    }

    fn broken(&self, error: &std::io::Error) -> CommunicatorError {
        CommunicatorError { message: error.to_string(), lost: self.session.is_closed() }
    }

    async fn upload(&self, source: &Upload, remote: &str, mode: u32) -> Result<(), CommunicatorError> {
        let (_, mut reader) = local::open(source).await?;
        let permissions = FileAttributes { permissions: Some(mode), ..FileAttributes::empty() };
        // Made with the mode, so that a secret is never readable; set again, as the umask took its part.
        let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE;
        let mut file = self
            .client
            .open_with_flags_and_attributes(remote, flags, permissions.clone())
            .await
            .map_err(|e| self.failed(&e))?;
        let written = local::copy(&mut reader, &mut file).await.map_err(|e| self.broken(&e))?;
        file.set_metadata(permissions).await.map_err(|e| self.failed(&e))?;
        file.shutdown().await.map_err(|e| self.broken(&e))?;
        let there = self.client.metadata(remote).await.map_err(|e| self.failed(&e))?;
        match there.size {
            Some(size) if size != written => {
                Err(CommunicatorError::refused(format!("{written} bytes were sent and {size} are there")))
            }
            _ => Ok(()),
        }
    }

    async fn upload_tree(&self, tree: &Tree, remote: &str) -> Result<(), CommunicatorError> {
        self.make_dirs(remote).await?;
        let target = |to: &str| format!("{}/{to}", remote.trim_end_matches('/'));
        for entry in tree.entries.iter().filter(|e| e.file.is_none()) {
            let path = target(&entry.to);
            self.make_dir(&path).await?;
            // Without the right to write into it, what comes next could not be written.
            let permissions = FileAttributes { permissions: Some(entry.mode | 0o700), ..FileAttributes::empty() };
            self.client.set_metadata(path, permissions).await.map_err(|e| self.failed(&e))?;
        }
        let mut files = Vec::new();
        for entry in &tree.entries {
            if let Some(file) = &entry.file {
                files.push((Upload::File(file.clone()), target(&entry.to), entry.mode));
            }
        }
        stream::iter(files)
            .map(async |(source, path, mode)| self.upload(&source, &path, mode).await.map_err(super::about(&path)))
            .buffer_unordered(FILES)
            .try_collect::<()>()
            .await
    }

    /// Makes a directory and those above it.
    async fn make_dirs(&self, remote: &str) -> Result<(), CommunicatorError> {
        let ends = remote.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([remote.len()]);
        for end in ends {
            self.make_dir(&remote[..end]).await?;
        }
        Ok(())
    }

    async fn make_dir(&self, remote: &str) -> Result<(), CommunicatorError> {
        if self.client.metadata(remote).await.is_ok_and(|there| there.is_dir()) {
            return Ok(());
        }
        self.client.create_dir(remote).await.map_err(|e| super::about(remote)(self.failed(&e)))
    }

    async fn download(&self, remote: &str, to: &Path) -> Result<(), CommunicatorError> {
        let mut from = self.client.open(remote).await.map_err(|e| self.failed(&e))?;
        let size = from.metadata().await.map_err(|e| self.failed(&e))?.size.unwrap_or_default();
        let mut file = tokio::fs::File::create(to).await.map_err(|e| self.broken(&e))?;
        let copied = local::copy(&mut from, &mut file).await.map_err(|e| self.broken(&e))?;
        file.flush().await.map_err(|e| self.broken(&e))?;
        // More is fine: a log that grows, or a file of the kernel that claims to be empty.
        if copied < size {
            return Err(CommunicatorError::refused(format!("{copied} bytes of {size} came")));
        }
        drop(from.close().await);
        Ok(())
    }
}
