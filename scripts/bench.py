"""Runs packer and gaia in turns on examples/gaia-hub against one rig each time, and prints medians and ratios.

First the endpoint reaches every state at once, so what is measured is start-up, calls and transfer. Then each change of state
(pending, running, stopping, ...) takes a few seconds, as on EC2, and what is measured is how late a tool notices. Packer's type
is written out, since 1.6.6 takes no variable there; nothing else differs.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLE = ROOT / "examples/gaia-hub"
TOOLS = {"packer 1.6.6": "packer", "gaia": str(ROOT / "target/release/gaia")}


def main() -> None:
    compare(runs=int(sys.argv[1]), settle=0)
    compare(runs=1, settle=3)


def compare(runs: int, settle: int) -> None:
    samples = {name: [] for name in TOOLS}
    images = {}
    for _ in range(runs):
        for name, program in TOOLS.items():
            sample, image = build(name, program, settle)
            samples[name].append(sample)
            images.setdefault(name, image)
    if len({json.dumps(image, sort_keys=True) for image in images.values()}) != 1:
        sys.exit(f"the images differ: {json.dumps(images, indent=2)}")

    states = f"{settle} s between states" if settle else "every state at once"
    print(f"{runs} build(s) of examples/gaia-hub each, in turns, {states}; medians. Same image: name, disks, tags.\n")
    print("| | packer 1.6.6 | gaia | ratio |\n|---|---|---|---|")
    rows = {"wall time, s": "wall", "CPU time, s": "cpu", "peak memory, MiB": "memory", "API calls": "calls"}
    for title, key in rows.items():
        packer, gaia = (statistics.median(s[key] for s in samples[name]) for name in TOOLS)
        print(f"| {title} | {packer:.2f} | {gaia:.2f} | {packer / gaia:.1f} |")
    print()


def build(name: str, program: str, settle: int) -> tuple[dict, dict]:
    """One build on a fresh rig: what it cost, and the image without what differs from run to run."""
    rig = subprocess.Popen(
        [sys.executable, ROOT / "tests/rig/rig.py", "start", "--settle", str(settle)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        ready = json.loads(rig.stdout.readline())
        with tempfile.TemporaryDirectory() as directory:
            folder = pathlib.Path(directory)
            prepare(folder, ready, name)
            sample = measure(folder, ready, program)
        calls = [json.loads(line) for line in pathlib.Path(ready["calls_log"]).read_text().splitlines()]
        sample["calls"] = len(calls)
        state = subprocess.run(
            [sys.executable, ROOT / "tests/rig/rig.py", "dump", ready["endpoint"]], capture_output=True, check=True
        )
        return sample, essence(json.loads(state.stdout)[ready["region"]])
    finally:
        rig.stdin.close()
        rig.wait(30)


def prepare(folder: pathlib.Path, ready: dict, name: str) -> None:
    template = json.loads((EXAMPLE / "gaia-hub.json").read_text())
    here = {"custom_endpoint_ec2": ready["endpoint"], "ssh_host": "127.0.0.1", "ssh_port": ready["ssh_port"]}
    template["builders"][0] |= here | ({"type": "amazon-ebs"} if name.startswith("packer") else {})
    (folder / "gaia-hub.json").write_text(json.dumps(template))
    variables = json.loads((EXAMPLE / "vars.json.sample").read_text())
    variables |= {"vpc_id": ready["vpc_id"], "subnet_id": ready["subnet_id"]}
    (folder / "vars.json").write_text(json.dumps(variables))
    (folder / "gaia.ign").write_bytes((EXAMPLE / "gaia.ign").read_bytes())


def measure(folder: pathlib.Path, ready: dict, program: str) -> dict:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GAIA_STATE_DIR": str(folder / "state"),
        "AWS_SHARED_CREDENTIALS_FILE": ready["credentials_file"],
        "AWS_CONFIG_FILE": ready["config_file"],
        "AWS_EC2_METADATA_DISABLED": "true",
        "CHECKPOINT_DISABLE": "1",
    }
    started = time.monotonic()
    with open(folder / "output.txt", "wb") as output:
        process = subprocess.Popen(
            [program, "build", "-var-file=vars.json", "gaia-hub.json"],
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
        # The children of packer are its plugins: their peak counts where it is higher, their time is added by the kernel.
        _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    if status != 0:
        sys.exit(f"{program} failed:\n{(folder / 'output.txt').read_text()}")
    return {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss / 1024}


def essence(region: dict) -> dict:
    """What must be the same: the image's name, disks and tags, its snapshots' tags, and that nothing else is left."""
    (image,) = region["images"]
    disks = {d["DeviceName"]: (d["Ebs"]["VolumeSize"], d["Ebs"]["VolumeType"]) for d in image["BlockDeviceMappings"]}
    tags = {key: value for key, value in image["Tags"].items() if key != "BuildTime"}
    snapshots = [{k: v for k, v in s["Tags"].items() if k != "BuildTime"} for s in region["snapshots"]]
    left = {kind: len(region[kind]) for kind in ("instances", "volumes", "key_pairs", "security_groups")}
    return {"name": image["Name"], "disks": disks, "tags": tags, "snapshots": snapshots, "left": left}


if __name__ == "__main__":
    main()
