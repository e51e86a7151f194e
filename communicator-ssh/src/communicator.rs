//! The communicator that provisioners get: one connection, renewed once when it is lost.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use builder_core::{Communicator, CommunicatorError, ExitStatus, Output, Upload};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::connect::Connected;
use crate::ending::{PidLine, Running};
use crate::exec;
use crate::session::{OpenError, Route, Session};
use crate::settings::{Settings, TransferMethod, limits};
use crate::transfer;

/// How long a goodbye waits for commands that are being ended.
const GOODBYE: Duration = Duration::from_secs(5);

/// An open way into a machine.
pub(crate) struct SshCommunicator {
    route: Route,
    host: String,
    pty: bool,
    pub(crate) method: TransferMethod,
    /// Set when the machine turned out to have no sftp server, so that it is not asked for every file.
    pub(crate) no_sftp: AtomicBool,
    /// Marks the lines that are ours in what commands write.
    mark: u64,
    session: Mutex<Arc<Session>>,
    /// Commands that are being ended.
    endings: TaskTracker,
}

impl SshCommunicator {
    pub(crate) fn new(route: Route, connected: Connected, settings: &Settings, mark: u64) -> Self {
        Self {
            route,
            host: connected.host,
            pty: settings.pty,
            method: settings.method,
            no_sftp: AtomicBool::new(false),
            mark,
            session: Mutex::new(Arc::new(connected.session)),
            endings: TaskTracker::new(),
        }
    }

    /// A new channel, on a new connection if the present one is lost.
    pub(crate) async fn channel(&self) -> Result<Running, CommunicatorError> {
        let session = self.session.lock().await.clone();
        match Running::open(session.clone(), &self.endings).await {
            Err(error) if error.lost => Running::open(self.renew(&session).await?, &self.endings).await,
            opened => opened,
        }
    }

    /// A new connection instead of `old`, unless somebody else has made one meanwhile.
    async fn renew(&self, old: &Arc<Session>) -> Result<Arc<Session>, CommunicatorError> {
        let mut current = self.session.lock().await;
        if Arc::ptr_eq(&current, old) {
            *current = Arc::new(self.open().await?);
        }
        Ok(current.clone())
    }

    async fn open(&self) -> Result<Session, CommunicatorError> {
        let name = self.route.machine.describe(&self.host);
        Session::open(&self.route, &self.host, limits::DIAL).await.map_err(|error| match error {
            OpenError::Unreachable(cause) => CommunicatorError::lost(format!("reconnecting to {name}: {cause}")),
            // It let us in before: it is booting, and lets nobody in yet.
            OpenError::Refused(cause) => {
                CommunicatorError::lost(format!("reconnecting to {name}: login refused: {cause}"))
            }
            OpenError::Impostor(text) => CommunicatorError::refused(format!("reconnecting to {name}: {text}")),
        })
    }
}

#[async_trait]
impl Communicator for SshCommunicator {
    async fn exec(&self, command: &str, output: mpsc::Sender<Output>) -> Result<ExitStatus, CommunicatorError> {
        let mut running = self.channel().await?;
        if self.pty {
            exec::request_pty(&mut running).await?;
        }
        let tells = !self.pty && running.session().is_unix();
        let search = if tells { PidLine::marked(self.mark) } else { PidLine::none() };
        exec::start(&mut running, command, search).await?;
        exec::run(running, &output).await
    }

    async fn upload(&self, source: Upload, remote: &str, mode: u32) -> Result<(), CommunicatorError> {
        transfer::upload(self, source, remote, mode).await
    }

    async fn upload_dir(&self, local: &Path, remote: &str) -> Result<(), CommunicatorError> {
        transfer::upload_dir(self, local, remote).await
    }

    async fn download(&self, remote: &str, local: &Path) -> Result<(), CommunicatorError> {
        transfer::download(self, remote, local).await
    }

    async fn reconnect(&self) -> Result<(), CommunicatorError> {
        let mut current = self.session.lock().await;
        current.disconnect().await;
        *current = Arc::new(self.open().await?);
        Ok(())
    }

    async fn close(&self) {
        self.endings.close();
        drop(timeout(GOODBYE, self.endings.wait()).await);
        self.session.lock().await.disconnect().await;
    }
}

impl fmt::Debug for SshCommunicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshCommunicator")
            .field("machine", &self.route.machine.describe(&self.host))
            .finish_non_exhaustive()
    }
}
