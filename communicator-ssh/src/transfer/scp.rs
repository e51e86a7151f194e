//! Copying by scp's own protocol, for machines without an sftp server.
//!
//! `scp -t` on the machine takes lines like `C0644 12 name` with their data on standard input and answers each step with
//! a byte: 0 is fine, 1 and 2 come with a line that says what is wrong. `scp -f` is the same the other way round.

use std::collections::VecDeque;
use std::path::Path;
use std::pin::pin;

use builder_core::{CommunicatorError, Upload};
use russh::ChannelMsg;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::local::{self, BUFFER, Tree};
use super::{Job, Trouble};
use crate::communicator::SshCommunicator;
use crate::ending::{PidLine, Running};
use crate::exec;
use crate::settings::limits;

/// The longest line that either side has a reason to send: a path and a number.
const LINE: usize = 8 * 1024;
/// What a shell exits with if there is no such command, or it cannot be run.
const NOT_FOUND: [u32; 2] = [127, 126];

/// Does a job over a channel of its own.
pub(super) async fn run(ssh: &SshCommunicator, job: Job<'_>) -> Result<(), Trouble> {
    match job {
        Job::Upload { source, remote, mode } => {
            let (size, mut reader) = local::open(source).await?;
            // -p: the mode as it is said, without the umask.
            let mut scp = Scp::start(ssh, &format!("scp -pt {}", quote(remote))).await?;
            scp.ack().await?;
            scp.file(&mut reader, size, mode, base_name(remote)).await?;
            scp.finish().await
        }
        Job::UploadDir { tree, remote } => {
            let remote = quote(remote);
            let mut scp = Scp::start(ssh, &format!("mkdir -p {remote} && scp -rpt {remote}")).await?;
            scp.ack().await?;
            scp.tree(tree).await?;
            scp.finish().await
        }
        Job::Download { remote, to } => {
            let mut scp = Scp::start(ssh, &format!("scp -f {}", quote(remote))).await?;
            scp.receive(to).await?;
            scp.finish().await
        }
    }
}

/// A word for the machine's shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

struct Scp {
    running: Running,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    inbox: VecDeque<u8>,
    stderr: Vec<u8>,
    status: Option<u32>,
    ended: bool,
}

impl Scp {
    async fn start(ssh: &SshCommunicator, command: &str) -> Result<Self, Trouble> {
        let mut running = ssh.channel().await?;
        exec::request(&mut running, command, PidLine::none()).await?;
        let writer = Box::new(running.live()?.channel.make_writer());
        Ok(Self { running, writer, inbox: VecDeque::new(), stderr: Vec::new(), status: None, ended: false })
    }

    /// Takes in what the machine sent.
    fn take(&mut self, message: Option<ChannelMsg>) {
        match message {
            Some(ChannelMsg::Data { data }) => self.inbox.extend(data.as_ref()),
            Some(ChannelMsg::ExtendedData { data, .. }) if self.stderr.len() < LINE => {
                self.stderr.extend_from_slice(&data);
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(exit_status),
            Some(ChannelMsg::Close) | None => self.ended = true,
            Some(_) => {}
        }
    }

    /// Waits for more from the machine; an error if nothing more will come.
    async fn pull(&mut self) -> Result<(), Trouble> {
        if self.ended {
            return Err(self.over());
        }
        let channel = &mut self.running.live()?.channel;
        let message = timeout(limits::STALL, channel.wait()).await.map_err(|_| stalled())?;
        self.take(message);
        Ok(())
    }

    /// Why the machine has nothing more to say.
    fn over(&self) -> Trouble {
        let said = String::from_utf8_lossy(&self.stderr).trim().to_owned();
        if self.status.is_some_and(|code| NOT_FOUND.contains(&code)) {
            return Trouble::Absent("it has no scp".to_owned());
        }
        let session = self.running.session();
        Trouble::Failed(match (session.is_closed(), said.is_empty()) {
            (true, _) => session.channel_error("scp", &russh::Error::HUP),
            (false, true) => CommunicatorError::refused("scp on the machine ended early and said nothing"),
            (false, false) => CommunicatorError::refused(said),
        })
    }

    /// Sends, and listens meanwhile: a machine with an error to tell would otherwise stop the whole connection.
    async fn send(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let mut messages = Vec::new();
        let sent = {
            let channel = &mut self.running.live()?.channel;
            let mut write = pin!(self.writer.write_all(bytes));
            loop {
                let step = async {
                    tokio::select! {
                        sent = &mut write => Some(sent),
                        message = channel.wait() => {
                            messages.push(message);
                            None
                        }
                    }
                };
                match timeout(limits::STALL, step).await {
                    Err(_) => return Err(stalled()),
                    Ok(Some(sent)) => break sent.is_ok(),
                    Ok(None) if matches!(messages.last(), Some(None | Some(ChannelMsg::Close))) => break false,
                    Ok(None) => {}
                }
            }
        };
        messages.into_iter().for_each(|message| self.take(message));
        if sent {
            return Ok(());
        }
        // What it wrote before it ended says more than that it ended.
        self.ended = true;
        if self.inbox.is_empty() { Err(self.over()) } else { self.ack().await.and(Err(self.over())) }
    }

    async fn byte(&mut self) -> Result<u8, Trouble> {
        loop {
            if let Some(byte) = self.inbox.pop_front() {
                return Ok(byte);
            }
            self.pull().await?;
        }
    }

    async fn line(&mut self) -> Result<String, Trouble> {
        let mut line = Vec::new();
        loop {
            match self.byte().await? {
                b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
                byte if line.len() < LINE => line.push(byte),
                _ => return Err(strange("a line without end")),
            }
        }
    }

    /// Takes the machine's answer to a step.
    async fn ack(&mut self) -> Result<(), Trouble> {
        match self.byte().await? {
            0 => Ok(()),
            kind => Err(self.complaint(kind).await),
        }
    }

    async fn complaint(&mut self, kind: u8) -> Trouble {
        if kind > 2 {
            return strange(&format!("byte {kind}"));
        }
        match self.line().await {
            Ok(text) => Trouble::Failed(CommunicatorError::refused(text.trim_start_matches("scp: "))),
            Err(trouble) => trouble,
        }
    }

    async fn file(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
        size: u64,
        mode: u32,
        name: &str,
    ) -> Result<(), Trouble> {
        self.send(format!("C{mode:04o} {size} {name}\n").as_bytes()).await?;
        self.ack().await?;
        let mut buffer = vec![0; BUFFER];
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let length = reader
                .read(&mut buffer[..most])
                .await
                .map_err(|e| CommunicatorError::refused(format!("reading {name}: {e}")))?;
            if length == 0 {
                return Err(CommunicatorError::refused(format!("{name} became shorter while it was sent")).into());
            }
            self.send(&buffer[..length]).await?;
            left -= length as u64;
        }
        self.send(&[0]).await?;
        self.ack().await
    }

    async fn tree(&mut self, tree: &Tree) -> Result<(), Trouble> {
        let mut inside = Vec::<&str>::new();
        for entry in &tree.entries {
            let (parent, name) = entry.to.rsplit_once('/').unwrap_or(("", &entry.to));
            while inside.last().copied().unwrap_or_default() != parent {
                self.leave(&mut inside).await?;
            }
            match &entry.file {
                None => {
                    self.send(format!("D{:04o} 0 {name}\n", entry.mode).as_bytes()).await?;
                    self.ack().await?;
                    inside.push(&entry.to);
                }
                Some(path) => {
                    let source = Upload::File(path.clone());
                    let (size, mut reader) = local::open(&source).await?;
                    self.file(&mut reader, size, entry.mode, name).await?;
                }
            }
        }
        while !inside.is_empty() {
            self.leave(&mut inside).await?;
        }
        Ok(())
    }

    async fn leave(&mut self, inside: &mut Vec<&str>) -> Result<(), Trouble> {
        inside.pop();
        self.send(b"E\n").await?;
        self.ack().await
    }

    async fn receive(&mut self, to: &Path) -> Result<(), Trouble> {
        let broken = |e: std::io::Error| Trouble::Failed(CommunicatorError::refused(format!("{}: {e}", to.display())));
        self.send(&[0]).await?;
        let size: u64 = match self.byte().await? {
            b'C' => {
                let line = self.line().await?;
                line.split(' ').nth(1).and_then(|size| size.parse().ok()).ok_or_else(|| strange(&line))?
            }
            kind => return Err(self.complaint(kind).await),
        };
        self.send(&[0]).await?;
        let mut file = tokio::fs::File::create(to).await.map_err(broken)?;
        let mut left = size;
        while left > 0 {
            if self.inbox.is_empty() {
                self.pull().await?;
            }
            let here = self.inbox.make_contiguous();
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(here.len());
            file.write_all(&here[..length]).await.map_err(broken)?;
            self.inbox.drain(..length);
            left -= length as u64;
        }
        file.flush().await.map_err(broken)?;
        self.ack().await?;
        self.send(&[0]).await
    }

    /// Ends standard input and waits for the machine's scp to be content.
    async fn finish(mut self) -> Result<(), Trouble> {
        // A machine that has ended already hears no more.
        drop(self.writer.shutdown().await);
        while !self.ended {
            self.pull().await?;
        }
        match self.status {
            Some(0) | None => {
                drop(self.running.finished());
                Ok(())
            }
            Some(_) => Err(self.over()),
        }
    }
}

fn stalled() -> Trouble {
    Trouble::Failed(CommunicatorError::lost(format!("scp: nothing moved for {:?}", limits::STALL)))
}

fn strange(what: &str) -> Trouble {
    Trouble::Failed(CommunicatorError::refused(format!(
        "scp: the machine sent something that is not scp's ({what}): do the shell's start-up files write to standard output?"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_shell() {
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
        let rows = [("/tmp/x", "x"), ("x", "x"), ("/tmp/d/", "d")];
        for (path, name) in rows {
            assert_eq!(base_name(path), name);
        }
    }
}
