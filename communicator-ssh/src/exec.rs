//! Running a command: a terminal if asked for, its start, its output, its end.

use builder_core::{CommunicatorError, ExitStatus, Output};
use russh::{Channel, ChannelMsg, Pty, Sig, client::Msg};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::ending::{Live, PidLine, Running};
use crate::session::Session;
use crate::settings::limits;

/// The number of standard error among a channel's extended data.
const STDERR: u32 = 1;

/// What a request on a channel was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Yes,
    No,
}

/// Waits for the answer to a request.
pub(crate) async fn reply(
    channel: &mut Channel<Msg>,
    session: &Session,
    what: &str,
) -> Result<Reply, CommunicatorError> {
    let answer = async {
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => return Ok(Reply::Yes),
                Some(ChannelMsg::Failure) => return Ok(Reply::No),
                Some(ChannelMsg::Close) | None => return Err(session.channel_error(what, &russh::Error::HUP)),
                Some(_) => {}
            }
        }
    };
    match timeout(limits::REPLY, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(CommunicatorError::lost(format!("{what}: no answer within {:?}", limits::REPLY))),
    }
}

/// Asks for a terminal as Packer does: xterm, 80 by 40, no echo.
pub(crate) async fn request_pty(running: &mut Running) -> Result<(), CommunicatorError> {
    let session = running.session();
    let channel = &mut running.live()?.channel;
    let modes = [(Pty::ECHO, 0), (Pty::TTY_OP_ISPEED, 14_400), (Pty::TTY_OP_OSPEED, 14_400)];
    let what = "asking for a terminal";
    channel.request_pty(true, "xterm", 80, 40, 0, 0, &modes).await.map_err(|e| session.channel_error(what, &e))?;
    match reply(channel, &session, what).await? {
        Reply::Yes => Ok(()),
        Reply::No => Err(CommunicatorError::refused("the machine gave no terminal: set `ssh_pty` to false")),
    }
}

/// Starts a command on a fresh channel; its standard input stays open.
pub(crate) async fn request(running: &mut Running, command: &str, search: PidLine) -> Result<(), CommunicatorError> {
    let what = "starting a command";
    let session = running.session();
    let live = running.live()?;
    let command = search.wrap(command);
    live.pid = search;
    live.started = Some(Instant::now());
    live.channel.exec(true, command).await.map_err(|e| session.channel_error(what, &e))?;
    match reply(&mut live.channel, &session, what).await? {
        Reply::Yes => Ok(()),
        Reply::No => Err(CommunicatorError::refused("the machine refused to run a command")),
    }
}

/// Starts a command that gets nothing on its standard input.
pub(crate) async fn start(running: &mut Running, command: &str, search: PidLine) -> Result<(), CommunicatorError> {
    request(running, command, search).await?;
    let session = running.session();
    running.live()?.channel.eof().await.map_err(|e| session.channel_error("starting a command", &e))
}

/// Passes on what a started command writes, until it has ended.
pub(crate) async fn run(mut running: Running, output: &mpsc::Sender<Output>) -> Result<ExitStatus, CommunicatorError> {
    let mut status = ExitStatus::Missing;
    let Live { channel, pid, .. } = running.live()?;
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Data { data }) => send(output, Output::Stdout(data.to_vec())).await,
            Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => {
                send(output, Output::Stderr(pid.filter(data.to_vec()))).await;
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => status = ExitStatus::Code(exit_status),
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => status = ExitStatus::Signal(name_of(&signal_name)),
            Some(ChannelMsg::Close) | None => break,
            Some(_) => {}
        }
    }
    send(output, Output::Stderr(pid.rest())).await;
    drop(running.finished());
    Ok(status)
}

async fn send(output: &mpsc::Sender<Output>, piece: Output) {
    let (Output::Stdout(bytes) | Output::Stderr(bytes)) = &piece;
    if !bytes.is_empty() {
        // A caller that has stopped listening still wants to know how the command ends.
        drop(output.send(piece).await);
    }
}

fn name_of(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        other => format!("{other:?}"),
    }
}
