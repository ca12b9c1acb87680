"""Frames pushed through a gateway, a log and a consumer, beside the same push to a collector with a folder.

    python tools/bench/log.py [--rounds N] [--frames N]

Each round pushes the frames of a finished record, 28 KB each as 1,024 ordinary events make, to three collectors in
alternating order: one with a folder, a gateway on a single nats-server, a gateway on a cluster of three (R3). All run
on this machine, so the log's copies compete for the same cores and disk. Wall time ends when everything is durable.
Without nats-server (Debian: apt install nats-server) nothing is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from paired import alternate
from stream import push_record, write_record

if TYPE_CHECKING:
    from collections.abc import Iterator

FRAME_BYTES = 28 * 1024
START_S = 60
SERVER = """
server_name: n{number}
listen: 127.0.0.1:{client}
jetstream {{ store_dir: "{folder}", max_file: 4G }}
"""
CLUSTER = "cluster {{ name: bench, listen: 127.0.0.1:{own}, routes: [{routes}] }}\n"


def free_ports(wanted: int) -> list[int]:
    """Return ports that no process listens on."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(wanted)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def start(stack: contextlib.ExitStack, *command: object) -> subprocess.Popen[bytes]:
    """Start a process that ends with the bench."""
    process = subprocess.Popen([str(part) for part in command], stderr=subprocess.DEVNULL)

    def end() -> None:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(end)
    return process


def start_log(stack: contextlib.ExitStack, program: str, folder: Path, size: int) -> str:
    """Start nats-servers; return where they are."""
    folder.mkdir()
    clients, routes = free_ports(size), free_ports(size)
    told = ", ".join(f"nats://127.0.0.1:{port}" for port in routes)
    for number in range(size):
        text = SERVER.format(number=number, client=clients[number], folder=folder / f"n{number}")
        text += CLUSTER.format(own=routes[number], routes=told) if size > 1 else ""
        config = folder / f"n{number}.conf"
        config.write_text(text)
        start(stack, program, "-c", config, "-l", folder / f"n{number}.log")
    return "nats://" + ",".join(f"127.0.0.1:{port}" for port in clients)


def start_collector(stack: contextlib.ExitStack, *options: object) -> str:
    """Start a collector or a gateway and wait until it serves; return its address."""
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    program = [sys.executable, "-m", "esper_telemetry"]
    start(stack, *program, "collect", "--listen", address, *options)
    deadline = time.monotonic() + START_S
    while subprocess.run([*program, "health", address], check=False, capture_output=True).returncode:
        if time.monotonic() > deadline:
            raise SystemExit(f"the collector did not serve within {START_S} s: {options}")
        time.sleep(0.2)
    return address


def start_gateway(stack: contextlib.ExitStack, program: str, folder: Path, servers: int) -> str:
    """Start a log, a consumer and a gateway; return the gateway's address."""
    folder.mkdir()
    url = start_log(stack, program, folder / "nats", servers)
    said = ("--engine", url, "--log-replicas", servers, "--log-gib", 1)
    address = start_collector(stack, *said)
    start(stack, sys.executable, "-m", "esper_telemetry", "consume", "--dir", folder / "records", *said)
    return address


def push_next(address: str, records: Iterator[Path]) -> None:
    """Push the next record."""
    push_record(address, next(records))


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=1000)
    args = parser.parse_args()
    program = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")
    if program is None:
        print("nats-server is not installed: nothing is measured")
        return
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        addresses = {
            "a collector with a folder": start_collector(stack, "--dir", folder / "collected"),
            "gateway, 1 nats-server, consumer": start_gateway(stack, program, folder / "one", 1),
            "gateway, 3 nats-servers (R3), consumer": start_gateway(stack, program, folder / "three", 3),
        }
        for address in addresses.values():
            push_record(address, write_record(folder, 10, FRAME_BYTES))  # a consumer has the partitions by now
        ready = {
            each: iter([write_record(folder, args.frames, FRAME_BYTES) for _ in range(args.rounds + 1)])
            for each in addresses
        }
        timings = alternate(
            {each: partial(push_next, address, ready[each]) for each, address in addresses.items()}, rounds=args.rounds
        )
        print(f"{args.frames} frames of {FRAME_BYTES:,} bytes a round, until everything is durable")
        print(timings.table(base="a collector with a folder", per=args.frames, unit="frame"))


if __name__ == "__main__":
    main()
