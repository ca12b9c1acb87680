"""Gateways and consumers as people run them: the command line, in processes of their own, killed and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

from esper_telemetry.recordfile import RecordReader
from tests.esper_telemetry.jetstream.natscluster import free_ports, wait_until

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "GRPC_VERBOSITY": "NONE"}


class Program:
    """A process that says on stderr that it is ready, and can be started again.

    Args:
        log: file of its stderr, all starts one after another.
        ready: what it says.
        command: what runs it.
    """

    def __init__(self, log: Path, ready: str, *command: object) -> None:
        self._log, self._ready = log, ready
        self._command = [str(part) for part in command]
        self._process: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        seen = len(self.log())
        with self._log.open("ab") as stderr:
            self._process = subprocess.Popen(self._command, env=ENVIRONMENT, stderr=stderr)

        def is_ready() -> bool:
            said = self.log()[seen:]
            assert self._process.poll() is None, f"it ended at its start: {said}"
            return re.search(self._ready, said) is not None

        wait_until(is_ready, f"{self._log.name} to be ready")

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def terminate(self) -> int:
        """SIGTERM; return the exit code."""
        self.signal(signal.SIGTERM)
        return self._process.wait(timeout=60)


class Deployment:
    """A log, its gateways and its consumers.

    Args:
        root: an empty folder.
        url: where the log is.
        replicas: of stream and bucket.
        options: further ones of both commands.

    Attributes:
        gateways: by number.
        ports: where gateways listen, by number.
        consumers: by number.
        folders: of consumers, by number.
    """

    def __init__(self, root: Path, url: str, replicas: int, *options: object) -> None:
        self._root = root
        self._log = ["--engine", url, "--log-replicas", replicas, "--log-partitions", 4, "--log-gib", 0.25, *options]
        self.gateways: list[Program] = []
        self.ports: list[int] = []
        self.consumers: list[Program] = []
        self.folders: list[Path] = []

    def add_gateway(
        self, *options: object, program: tuple[object, ...] = ("-m", "esper_telemetry", "collect")
    ) -> Program:
        (port,) = free_ports(1)
        log = self._root / f"gateway{len(self.gateways)}.log"
        listen = ["--listen", f"127.0.0.1:{port}"]
        self.ports.append(port)
        self.gateways.append(Program(log, "listening on", sys.executable, *program, *listen, *self._log, *options))
        return self.gateways[-1]

    def add_consumer(
        self, *options: object, program: tuple[object, ...] = ("-m", "esper_telemetry", "consume")
    ) -> Program:
        number = len(self.consumers)
        folder = self._root / f"records{number}"
        said = ["--dir", folder, *self._log, "--no-compact", *options]  # frames stay those that were sent
        self.folders.append(folder)
        self.consumers.append(
            Program(self._root / f"consumer{number}.log", "consuming as", sys.executable, *program, *said)
        )
        return self.consumers[-1]

    def stop(self) -> None:
        for program in (*self.gateways, *self.consumers):
            if program.running:
                program.kill()

    def stored(self, run_id: str, producer_id: bytes) -> list[bytes]:
        """Return the frames with descriptors that all folders hold of a producer; none may be there twice."""
        found = []
        for path in (path for folder in self.folders for path in sorted(folder.glob("*/*.esr.zst"))):
            with RecordReader(path) as reader:
                if (reader.header.run_id, reader.header.producer_id) == (run_id, producer_id):
                    assert not reader.damage, (path, reader.damage)
                    found += [(ref.first_seq, ref.last_seq, reader.read_raw(ref), path) for ref in reader.frames()]
        found.sort()
        for before, after in pairwise(found):
            assert before[1] < after[0], f"{before[:2]} in {before[3]} and {after[:2]} in {after[3]} overlap"
        return [raw for _, _, raw, _ in found]
