//! Ending a remote command whose caller has gone.
//!
//! SSH has a signal for that, but OpenSSH does not pass it on for root, and closing the channel ends only commands on a
//! terminal. So a command without a terminal first tells its process id on standard error, in a line that is taken out
//! again here, and is killed over a second channel with all of its process group.

use std::sync::Arc;
use std::time::Duration;

use builder_core::CommunicatorError;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, Sig};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::session::Session;

/// How long an abandoned command may take to tell its process id.
const TELL: Duration = Duration::from_secs(5);
/// How long the killing may take: it lasts a second or two, and the machine may be slow.
const KILL: Duration = Duration::from_secs(10);
/// Hanging up does not reach a command whose process has not taken hold of its terminal yet.
const SETTLE: Duration = Duration::from_secs(1);
/// Standard error that is searched for the line; a shell's start-up files may write before it.
const SEARCHED: usize = 64 * 1024;

/// Finds the line with the process id in standard error and takes it out.
#[derive(Debug)]
pub(crate) struct PidLine {
    mark: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Searching(Vec<u8>),
    Found(u32),
    /// Not asked for, or not there.
    Without,
}

impl PidLine {
    /// For a command that was not asked to tell its process id.
    pub(crate) fn none() -> Self {
        Self { mark: String::new(), state: State::Without }
    }

    /// For a command made by [`PidLine::wrap`].
    pub(crate) fn marked(mark: u64) -> Self {
        Self { mark: format!("gaia-{mark:016x} "), state: State::Searching(Vec::new()) }
    }

    /// The command, made to tell its process id first. `sh` speaks of its parent, the user's shell, so that it works
    /// whatever shell that is; sshd made that shell the leader of a process group.
    pub(crate) fn wrap(&self, command: &str) -> String {
        match self.state {
            State::Searching(_) => format!("sh -c 'echo \"{}$PPID\" >&2'; {command}", self.mark),
            _ => command.to_owned(),
        }
    }

    /// Takes standard error in and gives what of it is the command's.
    pub(crate) fn filter(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let State::Searching(held) = &mut self.state else { return bytes };
        held.extend(bytes);
        let mark = self.mark.as_bytes();
        let Some(start) = held.windows(mark.len()).position(|w| w == mark) else {
            return if held.len() > SEARCHED { self.rest() } else { Vec::new() };
        };
        let after = start + mark.len();
        let Some(length) = held[after..].iter().position(|b| *b == b'\n') else { return Vec::new() };
        let pid = String::from_utf8_lossy(&held[after..after + length]).trim().parse().ok();
        let mut own = held[..start].to_vec();
        own.extend_from_slice(&held[after + length + 1..]);
        self.state = pid.map_or(State::Without, State::Found);
        own
    }

    /// What was held back, when nothing more comes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.state, State::Without) {
            State::Searching(held) => held,
            state @ (State::Found(_) | State::Without) => {
                self.state = state;
                Vec::new()
            }
        }
    }
}

/// A channel whose command is ended when this is dropped before [`Running::finished`].
pub(crate) struct Running {
    live: Option<Live>,
    session: Arc<Session>,
    tracker: TaskTracker,
}

/// What there is of a channel until it has ended.
pub(crate) struct Live {
    pub(crate) channel: Channel<Msg>,
    /// The search in its standard error.
    pub(crate) pid: PidLine,
    /// When a command was asked for.
    pub(crate) started: Option<Instant>,
}

impl Running {
    /// Opens a channel, with nothing started yet.
    ///
    /// russh forgets a channel whose opener has gone, and the machine would count it for ever: a task of its own sees
    /// the opening through.
    pub(crate) async fn open(session: Arc<Session>, tracker: &TaskTracker) -> Result<Self, CommunicatorError> {
        let opening = {
            let tracker = tracker.clone();
            async move {
                let channel = session.channel().await?;
                Ok(Self { live: Some(Live { channel, pid: PidLine::none(), started: None }), session, tracker })
            }
        };
        let opened = tracker.spawn(opening).await;
        opened.unwrap_or_else(|e| Err(CommunicatorError::lost(format!("the SSH channel was not opened: {e}"))))
    }

    pub(crate) fn session(&self) -> Arc<Session> {
        self.session.clone()
    }

    /// There as long as this is.
    pub(crate) fn live(&mut self) -> Result<&mut Live, CommunicatorError> {
        self.live.as_mut().ok_or_else(|| CommunicatorError::lost("the SSH channel is gone"))
    }

    /// The command has ended by itself, or somebody else looks after the channel from now on.
    pub(crate) fn finished(mut self) -> Option<Channel<Msg>> {
        self.live.take().map(|live| live.channel)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(live) = self.live.take() else { return };
        // Outside a runtime the connection is gone as well, and with it what could be done.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.tracker.spawn_on(end(live, self.session.clone()), &runtime);
        }
    }
}

async fn end(mut live: Live, session: Arc<Session>) {
    let pid = timeout(TELL, find(&mut live)).await.ok().flatten();
    // Nobody reads any more: without its receiver the channel drops what comes, and does not stop the connection.
    let (read, write) = live.channel.split();
    drop(read);
    match (pid, live.started) {
        (Some(pid), _) => drop(timeout(KILL, kill(&session, pid)).await),
        (None, Some(started)) => tokio::time::sleep_until(started + SETTLE).await,
        (None, None) => {}
    }
    // For commands that told nothing: a terminal hangs up, other servers may heed the signal.
    let farewell = async {
        drop(write.signal(Sig::TERM).await);
        drop(write.close().await);
    };
    drop(timeout(Duration::from_secs(1), farewell).await);
}

/// The process id, as soon as the command has told it.
async fn find(live: &mut Live) -> Option<u32> {
    loop {
        match live.pid.state {
            State::Found(id) => return Some(id),
            State::Without => return None,
            State::Searching(_) => match live.channel.wait().await? {
                ChannelMsg::ExtendedData { data, .. } => drop(live.pid.filter(data.to_vec())),
                ChannelMsg::ExitStatus { .. } | ChannelMsg::ExitSignal { .. } | ChannelMsg::Close => return None,
                _ => {}
            },
        }
    }
}

/// Ends a process group: asks for a second, then forces. What runs under sudo belongs to root, so sudo has to end it.
async fn kill(session: &Session, pid: u32) {
    let command = format!(
        "sh -c 'exec >/dev/null 2>&1; \
         k() {{ kill -s $1 -- -{pid} || kill -s $1 {pid} || sudo -n kill -s $1 -- -{pid}; }}; \
         for i in 1 2 3 4 5; do k TERM || exit 0; sleep .2 || sleep 1; done; k KILL'"
    );
    let mut channel = loop {
        match session.channel().await {
            Ok(channel) => break channel,
            Err(error) if error.lost => return,
            // Many commands that end at once take each other's place among the channels that sshd allows.
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    };
    if channel.exec(true, command).await.is_ok() {
        while channel.wait().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_taken_out_wherever_the_pieces_are_cut() {
        let text = "Last login: never\ngaia-000000000000002a 4711\nerr\n";
        for size in [1, 2, 7, 25, text.len()] {
            let mut pid = PidLine::marked(42);
            let mut own = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                own.extend(pid.filter(piece.to_vec()));
            }
            own.extend(pid.rest());
            assert_eq!(String::from_utf8_lossy(&own), "Last login: never\nerr\n", "{size}");
            assert!(matches!(pid.state, State::Found(4711)), "{size}");
        }
    }

    #[test]
    fn without_the_line_nothing_is_lost() {
        let mut pid = PidLine::marked(1);
        assert_eq!(pid.wrap("id"), "sh -c 'echo \"gaia-0000000000000001 $PPID\" >&2'; id");
        assert!(pid.filter(b"sh: not found\n".to_vec()).is_empty());
        assert_eq!(pid.rest(), b"sh: not found\n");
        let mut pid = PidLine::marked(1);
        let long = vec![b'x'; SEARCHED + 1];
        assert_eq!(pid.filter(long.clone()), long);
        assert_eq!(pid.filter(b"more".to_vec()), b"more");
        let mut pid = PidLine::none();
        assert_eq!((pid.wrap("id"), pid.filter(b"x".to_vec())), ("id".to_owned(), b"x".to_vec()));
    }
}
