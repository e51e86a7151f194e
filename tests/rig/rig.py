"""An EC2 and a machine to build on, for tests and the demo: moto's server and a real OpenSSH sshd in a sandbox.

    rig.py start [--iam] [--deny ACTION] [--fail ACTION=CODE[:N]] ...   prints one JSON line when ready, then serves
                                                                        until its standard input closes or a signal
    rig.py dump ENDPOINT                                                prints what exists there, by region, as JSON
    rig.py show ENDPOINT                                                the same for people: images in full, else counts

Needs moto[server] 5.2 (scripts/setup makes the Python that has it: target/tools/venv/bin/python).
"""

import argparse
import json
import os
import pathlib
import signal
import sys
import tempfile
import threading
import urllib.request

# The modules beside this one are imported from the repository, which is to stay clean.
sys.dont_write_bytecode = True
# Read by moto when it is imported: only our images exist, and an unknown image or key pair is an error, as in EC2.
os.environ.update(
    MOTO_EC2_LOAD_DEFAULT_AMIS="false", MOTO_ENABLE_AMI_VALIDATION="true", MOTO_ENABLE_KEYPAIR_VALIDATION="true"
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start")
    start.add_argument("--iam", action="store_true", help="enforce signatures and the user's policy")
    start.add_argument("--deny", action="append", default=[], metavar="ACTION", help="answer UnauthorizedOperation")
    start.add_argument("--fail", action="append", default=[], metavar="ACTION=CODE[:N]", help="answer this error")
    start.add_argument("--lose", action="append", default=[], metavar="ACTION=CODE[:N]", help="do it, then answer this")
    start.add_argument("--latency", type=float, default=0, metavar="MS", help="wait before each answer")
    start.add_argument("--settle", type=float, default=0, metavar="SECONDS", help="time between states")
    start.add_argument("--region", default="us-west-2")
    start.add_argument("--system", choices=("flatcar", "coreos"), default="flatcar", help="whose /boot the machine has")
    start.add_argument(
        "--prepare", default="", metavar="SHELL", help="run on the machine as root before the first login"
    )
    for name in ("dump", "show"):
        commands.add_parser(name).add_argument("endpoint")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.command != "start":
        with urllib.request.urlopen(f"{options.endpoint}/rig/state", timeout=60) as answer:
            found = answer.read().decode()
        sys.stdout.write(found + "\n" if options.command == "dump" else summary(json.loads(found)))
        return

    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Whoever starts the rig in the background keeps Ctrl-C for the build: its clean-up still needs the endpoint.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: over.set())
    with tempfile.TemporaryDirectory(prefix="gaia-rig-") as directory:
        serve(options, pathlib.Path(directory), over)


def serve(options: argparse.Namespace, directory: pathlib.Path, over: threading.Event) -> None:
    # Here, for moto is slow to load and the other commands do without it.
    import delays
    import endpoint
    import machine
    import mends
    import seed

    mends.mend_moto()
    calls_log, sshd_log = directory / "calls.jsonl", directory / "sshd.log"
    server = endpoint.Endpoint(calls_log, options.latency / 1000)
    try:
        box = machine.Machine(server.port, sshd_log, options.system, options.prepare)
        try:
            seeded = seed.seed(server.url, options.region, options.iam)
            server.admin = seeded.admin
            if options.settle:
                delays.slow_down(options.settle)
            server.faults.set(options.deny, pairs(options.fail), pairs(options.lose))
            calls_log.write_text("")
            credentials, config = seed.write_profile(directory, seeded, options.region)
            ready = {
                "endpoint": server.url,
                "ssh_port": box.port,
                "sandbox": box.root,
                "region": options.region,
                "vpc_id": seeded.vpc_id,
                "subnet_id": seeded.subnet_id,
                "source_ami": seeded.source_ami,
                "access_key": seeded.user[0],
                "secret_key": seeded.user[1],
                "credentials_file": str(credentials),
                "config_file": str(config),
                "calls_log": str(calls_log),
                "sshd_log": str(sshd_log),
            }
            sys.stdout.write(json.dumps(ready) + "\n")
            sys.stdout.flush()
            threading.Thread(target=end_with_stdin, args=(over,), daemon=True).start()
            over.wait()
        finally:
            box.close()
    finally:
        server.close()


def summary(found: dict) -> str:
    """The images with their tags, disks and snapshots; of everything else, how many of each there are."""
    lines = []
    for region, kinds in found.items():
        tags_of = {snapshot["SnapshotId"]: snapshot["Tags"] for snapshot in kinds["snapshots"]}
        for image in kinds["images"]:
            lines.append(f"{region}: {image['ImageId']} {image['Name']} ({image['State']})")
            lines += [f"  {key} = {value}" for key, value in image["Tags"].items()]
            for mapping in image["BlockDeviceMappings"]:
                disk = mapping.get("Ebs", {})
                lines.append(
                    f"  {mapping['DeviceName']}: {disk.get('VolumeSize')} GiB {disk.get('VolumeType')}, "
                    f"{disk.get('SnapshotId')} with {len(tags_of.get(disk.get('SnapshotId'), {}))} tags"
                )
        others = [
            f"{len(kinds[kind])} {kind.replace('_', ' ')}" for kind in kinds if kind not in ("images", "snapshots")
        ]
        lines.append(f"  {len(kinds['snapshots'])} snapshots, {', '.join(others)}")
    return "".join(f"{line}\n" for line in lines or ["nothing"])


def pairs(options: list[str]) -> dict[str, str]:
    return dict(option.split("=", 1) for option in options)


def end_with_stdin(over: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    over.set()


if __name__ == "__main__":
    main()
