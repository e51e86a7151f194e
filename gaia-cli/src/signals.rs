//! Where requests to stop come from: the signals of the process, or a test.

use std::io;

use builder_core::Events;
use tokio::sync::mpsc;

/// A request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C
    Interrupt,
    /// `kill`
    Terminate,
    /// The terminal went away.
    Hangup,
}

/// In the words of Packer's messages.
impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "interrupt",
            Self::Terminate => "terminated",
            Self::Hangup => "hangup",
        })
    }
}

/// What a run listens to.
#[derive(Debug)]
pub(crate) enum Signals {
    /// The signals of this process.
    OfProcess,
    /// What a test sends.
    #[cfg(test)]
    Injected(mpsc::UnboundedReceiver<Signal>),
}

/// Signals that are being listened to.
#[derive(Debug)]
pub(crate) struct Listener {
    receiver: mpsc::UnboundedReceiver<Signal>,
}

impl Signals {
    /// Starts to listen; from here on a signal does not end the process any more. Needs a runtime that nothing else keeps
    /// busy: otherwise a signal could not be heard.
    pub(crate) fn listen(self, events: &Events) -> Listener {
        let (sender, receiver) = mpsc::unbounded_channel();
        match self {
            Self::OfProcess => {
                if let Err(e) = of_process(&sender) {
                    events.warning(format!("Ctrl-C cannot be heard, and ends gaia without a clean-up: {e}"));
                }
                Listener { receiver }
            }
            #[cfg(test)]
            Self::Injected(receiver) => Listener { receiver },
        }
    }
}

impl Listener {
    /// The next signal; never, if there is nobody to send one.
    pub(crate) async fn next(&mut self) -> Signal {
        match self.receiver.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

#[cfg(unix)]
fn of_process(sender: &mpsc::UnboundedSender<Signal>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [
        (SignalKind::interrupt(), Signal::Interrupt),
        (SignalKind::terminate(), Signal::Terminate),
        (SignalKind::hangup(), Signal::Hangup),
    ];
    for (kind, it) in kinds {
        let mut stream = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move { while stream.recv().await.is_some() && sender.send(it).is_ok() {} });
    }
    Ok(())
}

#[cfg(not(unix))]
fn of_process(sender: &mpsc::UnboundedSender<Signal>) -> io::Result<()> {
    let sender = sender.clone();
    tokio::spawn(
        async move { while tokio::signal::ctrl_c().await.is_ok() && sender.send(Signal::Interrupt).is_ok() {} },
    );
    Ok(())
}
