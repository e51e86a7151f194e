//! Copying files: sftp and scp, whichever the user prefers and the machine has.

mod local;
mod scp;
mod sftp;

use std::path::Path;

use builder_core::{CommunicatorError, Upload};

use crate::communicator::SshCommunicator;
use crate::settings::TransferMethod;
use local::Tree;

/// One thing to copy.
#[derive(Clone, Copy)]
enum Job<'a> {
    Upload {
        source: &'a Upload,
        remote: &'a str,
        mode: u32,
    },
    UploadDir {
        tree: &'a Tree,
        remote: &'a str,
    },
    /// To a file that exists and is empty.
    Download {
        remote: &'a str,
        to: &'a Path,
    },
}

/// Why a protocol did not do a job.
#[derive(Debug)]
enum Trouble {
    /// The machine does not have it, and nothing was touched: the other protocol may do.
    Absent(String),
    Failed(CommunicatorError),
}

impl From<CommunicatorError> for Trouble {
    fn from(error: CommunicatorError) -> Self {
        Self::Failed(error)
    }
}

pub(crate) async fn upload(
    ssh: &SshCommunicator,
    source: Upload,
    remote: &str,
    mode: u32,
) -> Result<(), CommunicatorError> {
    let job = Job::Upload { source: &source, remote: &remote_path(remote), mode: mode & 0o7777 };
    run(ssh, job).await.map_err(about(&format!("upload of {remote}")))
}

pub(crate) async fn upload_dir(ssh: &SshCommunicator, local: &Path, remote: &str) -> Result<(), CommunicatorError> {
    let what = format!("upload of {} to {remote}", local.display());
    let tree = Tree::read(local.to_owned()).await.map_err(about(&what))?;
    run(ssh, Job::UploadDir { tree: &tree, remote: &remote_path(remote) }).await.map_err(about(&what))
}

pub(crate) async fn download(ssh: &SshCommunicator, remote: &str, local: &Path) -> Result<(), CommunicatorError> {
    let what = format!("download of {remote} to {}", local.display());
    let temporary = local::temporary_beside(local).map_err(about(&what))?;
    let job = Job::Download { remote: &remote_path(remote), to: temporary.path() };
    run(ssh, job).await.map_err(about(&what))?;
    temporary.persist(local).map_err(|e| about(&what)(CommunicatorError::refused(e.error.to_string())))?;
    Ok(())
}

async fn run(ssh: &SshCommunicator, job: Job<'_>) -> Result<(), CommunicatorError> {
    let order = match ssh.method {
        TransferMethod::Sftp => [TransferMethod::Sftp, TransferMethod::Scp],
        TransferMethod::Scp => [TransferMethod::Scp, TransferMethod::Sftp],
    };
    let mut absent = Vec::new();
    for method in order {
        let done = match method {
            TransferMethod::Sftp => sftp::run(ssh, job).await,
            TransferMethod::Scp => scp::run(ssh, job).await,
        };
        match done {
            Ok(()) => return Ok(()),
            Err(Trouble::Failed(error)) => return Err(error),
            Err(Trouble::Absent(why)) => absent.push(why),
        }
    }
    Err(CommunicatorError::refused(format!(
        "the machine can take no files ({}): install OpenSSH's sftp-server or scp in the image",
        absent.join("; ")
    )))
}

fn about(what: &str) -> impl FnOnce(CommunicatorError) -> CommunicatorError {
    move |error| CommunicatorError { message: format!("{what}: {}", error.message), ..error }
}

/// A path as both protocols take it: relative to the home directory instead of with `~/`, which only a shell would
/// expand, and never like an option.
fn remote_path(remote: &str) -> String {
    match remote {
        "~" | "~/" | "" => ".".to_owned(),
        _ => {
            let path = remote.strip_prefix("~/").unwrap_or(remote);
            if path.starts_with('-') { format!("./{path}") } else { path.to_owned() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_paths_need_no_shell() {
        let rows =
            [("~/x y", "x y"), ("~", "."), ("/tmp/a", "/tmp/a"), ("-rf", "./-rf"), ("~/-x", "./-x"), ("~u/x", "~u/x")];
        for (path, expected) in rows {
            assert_eq!(remote_path(path), expected);
        }
    }
}
