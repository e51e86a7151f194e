//! The wait for a machine: tries until a login works, the time is up or too many logins were refused.

use std::time::Duration;

use builder_core::{AddressSource, BuildContext, BuildError, EventKind, GoDuration};
use tokio::time::{Instant, sleep_until, timeout};

use crate::session::{OpenError, Route, Session};
use crate::settings::Settings;

/// From the start of one try to the start of the next.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
/// A machine that boots drops what it cannot answer yet, and TCP itself waits ever longer before it asks again:
/// short tries notice sooner that it is there.
const FIRST_DIALS: Duration = Duration::from_secs(2);
/// What comes after that many tries may be far away rather than booting.
const SHORT_DIALS: u32 = 30;
const LATER_DIALS: Duration = Duration::from_secs(15);
/// A login that is refused may work once the machine has fetched its keys, so the pauses grow to this; ten tries then
/// last a minute, as Packer's do.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A session, and the address that it was made to.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) session: Session,
    pub(crate) host: String,
}

/// Tries until a login works. Ends early when the build is cancelled.
pub(crate) async fn wait(
    cx: &BuildContext,
    address: &dyn AddressSource,
    settings: &Settings,
    route: &Route,
) -> Result<Connected, BuildError> {
    let mut tries = Tries { cx, settings, route, count: 0, refused: 0, last: None };
    let limit = settings.timeout.and_then(GoDuration::positive).unwrap_or(Duration::MAX);
    let outcome = cx.cancel.run(timeout(limit, tries.run(address))).await;
    cx.events.emit(EventKind::WaitEnded);
    match outcome? {
        Ok(result) => result,
        Err(_) => Err(tries.timed_out()),
    }
}

struct Tries<'a> {
    cx: &'a BuildContext,
    settings: &'a Settings,
    route: &'a Route,
    count: u32,
    refused: u32,
    /// Where the last try went and how it ended.
    last: Option<(String, String)>,
}

impl Tries<'_> {
    async fn run(&mut self, address: &dyn AddressSource) -> Result<Connected, BuildError> {
        loop {
            let began = Instant::now();
            let host = match &self.settings.host {
                Some(host) => Some(host.clone()),
                None => address.address().await?,
            };
            let Some(host) = host else {
                self.cx.events.waiting("the machine to get an address");
                sleep_until(began + BETWEEN_TRIES).await;
                continue;
            };
            let name = self.route.machine.describe(&host);
            self.show(&name);
            let dial = if self.count < SHORT_DIALS { FIRST_DIALS } else { LATER_DIALS };
            self.count += 1;
            let next = match Session::open(self.route, &host, dial).await {
                Ok(session) => return Ok(Connected { session, host }),
                Err(OpenError::Impostor(text)) => {
                    return Err(BuildError::failed(format!("Error waiting for SSH: {name}: {text}")));
                }
                Err(OpenError::Unreachable(cause)) => {
                    self.last = Some((name, cause));
                    began + BETWEEN_TRIES
                }
                Err(OpenError::Refused(cause)) => {
                    self.refused += 1;
                    if self.settings.attempts.is_some_and(|most| self.refused >= most) {
                        return Err(self.too_often_refused(&name, &cause));
                    }
                    self.last = Some((name, format!("login refused: {cause}")));
                    Instant::now() + BETWEEN_TRIES.saturating_mul(1 << (self.refused - 1).min(5)).min(LONGEST_PAUSE)
                }
            };
            if let Some((name, _)) = &self.last {
                self.show(name);
            }
            sleep_until(next).await;
        }
    }

    fn show(&self, name: &str) {
        let state = self.last.as_ref().map(|(_, cause)| format!(" ({cause})")).unwrap_or_default();
        self.cx.events.waiting(format!("SSH at {name} to become available{state}"));
    }

    fn too_often_refused(&self, name: &str, cause: &str) -> BuildError {
        let times = if self.refused == 1 { "once".to_owned() } else { format!("{} times", self.refused) };
        BuildError::failed(format!(
            "Error waiting for SSH: the login as {name} was refused {times}: {cause}; check that `ssh_username` is the \
             image's user and that the machine knows the key or password"
        ))
    }

    fn timed_out(&self) -> BuildError {
        let after = self.settings.timeout.unwrap_or_default();
        BuildError::failed(match &self.last {
            Some((name, cause)) => format!(
                "Timeout waiting for SSH: after {after}, the last try to reach {name} ended with: {cause}; check the \
                 security group, the user name and that the image starts sshd"
            ),
            None if self.count > 0 => format!(
                "Timeout waiting for SSH: after {after}, the first try had not ended; give it more time with `ssh_timeout`"
            ),
            None => format!("Timeout waiting for SSH: after {after}, the machine still had no address"),
        })
    }
}
