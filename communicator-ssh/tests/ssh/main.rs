//! The communicator against servers: one in this process for what has to be quick or odd, and OpenSSH's own sshd.
//!
//! Nothing here looks at the user's `~/.ssh`; it needs `sshd`, `ssh-keygen`, `ssh-agent` and `openssl`. It runs as root and
//! as an ordinary user, who needs terminals that belong to the group tty (`/dev/pts` with `gid=5`, as systems mount it).

mod connecting;
mod fake_server;
mod login;
mod openssh_exec;
mod openssh_restart;
mod openssh_transfer;
mod preflight;
mod support;
