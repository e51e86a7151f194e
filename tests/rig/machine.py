"""The machine behind the rig's instances: a real OpenSSH sshd in namespaces of its own (machine.sh is its inside).

Root in there is an identity that owns nothing on the host, so scripts may shred and delete as root and reach only the
machine's own files, which live in memory. Works for root, and for a user with a range in /etc/subuid (package uidmap).
"""

import getpass
import os
import pathlib
import socket
import subprocess
import time

INSIDE = pathlib.Path(__file__).with_name("machine.sh")
IDS = 65536
# Identities that nobody has on the host: above what distributions and containers hand out.
UNUSED_IDS = 1_900_000_000
READY_SECONDS = 20


class Machine:
    """A started machine. `root` is its root directory as seen from outside, for as long as it lives."""

    def __init__(self, endpoint_port: int, log: pathlib.Path, system: str, prepare: str):
        self.port = free_port()
        self._log = open(log, "wb")
        self._process = subprocess.Popen(
            [*unprivileged(), "unshare", "--user", "--", "sh", "-c", ENTER, "sh", INSIDE.read_text(),
             str(self.port), str(endpoint_port), system, prepare],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, start_new_session=True, cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        )  # fmt: skip
        try:
            if self._process.stdout.readline() != b"entered\n":
                raise RuntimeError(f"user namespaces are not to be had here: {log.read_text().strip()}")
            map_ids(self._process.pid)
            self._process.stdin.write(b"mapped\n")
            self._process.stdin.flush()
            self._wait_for_banner(log)
            self.root = f"/proc/{first_child(self._process.pid)}/root"
        except BaseException:
            self.close()
            raise

    def _wait_for_banner(self, log: pathlib.Path) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                    if connection.recv(8).startswith(b"SSH-2.0-"):
                        return
            except OSError:
                time.sleep(0.05)
        state = "still running" if self._process.poll() is None else f"ended with {self._process.returncode}"
        raise RuntimeError(f"no SSH server on the machine ({state}): {log.read_text().strip() or 'it said nothing'}")

    def close(self) -> None:
        """Ends every process of the machine; its files go with it."""
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()


# The identities can only be mapped from outside, between the two namespace calls. The map must be there before the
# second one: a process whose identity is not mapped keeps no capability over an exec.
ENTER = """
echo entered
read -r _ || exit 1
inside=$1
shift
exec unshare --mount --pid --ipc --fork --kill-child=KILL -- sh -c "$inside" machine "$@"
"""


def unprivileged() -> list[str]:
    """For root: become the identity that will be root in the machine, and nobody outside it."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={UNUSED_IDS}", f"--regid={UNUSED_IDS}", "--clear-groups", "--"]


def map_ids(pid: int) -> None:
    if os.geteuid() == 0:
        for kind in ("uid", "gid"):
            pathlib.Path(f"/proc/{pid}/{kind}_map").write_text(f"0 {UNUSED_IDS} {IDS}\n")
        return
    for kind, own in (("uid", os.getuid()), ("gid", os.getgid())):
        start, count = subordinate_ids(kind)
        command = [f"new{kind}map", pid, 0, own, 1, 1, start, min(count, IDS - 1)]
        subprocess.run([str(word) for word in command], check=True)


def subordinate_ids(kind: str) -> tuple[int, int]:
    me = (getpass.getuser(), str(os.getuid()))
    for line in pathlib.Path(f"/etc/sub{kind}").read_text().splitlines():
        owner, start, count = line.split(":")
        if owner in me:
            return int(start), int(count)
    raise RuntimeError(f"/etc/sub{kind} has no range for {me[0]}; run as root or add one (usermod --add-sub{kind}s)")


def first_child(pid: int) -> int:
    return int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
