"""A real collector in a process of its own, for tests of what sends to it or reads from it."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from esper_telemetry.errors import CorruptRecordError, NotARecordError
from esper_telemetry.recordfile import RecordReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class CollectorProcess:
    """The real collector in a process of its own, which can be killed, frozen and started again.

    Args:
        folder: where it stores.
        options: further arguments of `esper-telemetry collect`.
        compact: sealed segments are compacted; without that their frames stay those that were sent.

    Attributes:
        folder: where it stores.
        address: where it listens; the same after a restart.
    """

    def __init__(self, folder: Path, *options: object, compact: bool = False) -> None:
        self.folder = folder
        self._options = ["--compact" if compact else "--no-compact", *(str(option) for option in options)]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> CollectorProcess:
        """Start it and wait until it listens."""
        command = [sys.executable, "-m", "esper_telemetry", "collect", "--listen", self.address]
        self._process = subprocess.Popen([*command, "--dir", str(self.folder), *self._options])
        wait_until(self._listens)
        return self

    def _listens(self) -> bool:
        assert self._process.poll() is None, "the collector ended at its start"
        host, _, port = self.address.rpartition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return True
        return False

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it in good order, so that its segments are closed."""
        self.signal(signal.SIGTERM)
        self._process.wait(timeout=30)
        self._process = None

    def segments(self, run_id: str, rank: int = 0) -> list[Path]:
        """Return the segments it stored of a run's rank."""
        return sorted((self.folder / run_id).glob(f"main-r{rank}-*.esr.zst"))

    def frames(self, run_id: str, rank: int = 0) -> list[bytes]:
        """Return the frames it stored, byte for byte."""
        return stored_frames(self.segments(run_id, rank))


def stored_frames(paths) -> list[bytes]:
    """Return each frame with its descriptor, byte for byte, in order."""
    found = []
    for path in paths:
        # A file that was opened a moment ago, and holds no header yet, holds no frame.
        with contextlib.suppress(CorruptRecordError, NotARecordError), RecordReader(path) as reader:
            found += [reader.read_raw(frame) for frame in reader.frames()]
    return found


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until `condition` holds; fail if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
