"""Collectors to test with: real processes on loopback, stopped at the end of the test whatever happened."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.esper_telemetry.collector import process

# A slow machine fails no property.
settings.register_profile("collector", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("collector")

ROOT = Path(__file__).resolve().parents[3]


class CollectorProcess:
    """A collector that listens.

    Attributes:
        folder: its folder.
        port, metrics_port, health_port: where it listens.
        process: the process.
    """

    def __init__(self, folder: Path, log: Path, *extra: str, **settings) -> None:
        self.folder = folder
        self._log = log
        said = {"listen": "127.0.0.1:0", "directory": str(folder), "metrics": "127.0.0.1:0", **settings}
        command = [sys.executable, process.__file__, json.dumps(said, default=str), *extra]
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise RuntimeError(f"the collector did not start: {self.log()}")
        ports = json.loads(line)
        self.port, self.metrics_port, self.health_port = ports["port"], ports["metrics"], ports["health"]

    def log(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def terminate(self) -> int:
        """SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        return code


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT), "GRPC_VERBOSITY": "NONE"}


@pytest.fixture(scope="module")
def shared_collector(tmp_path_factory):
    """One collector for all tests of a module: each brings producers of its own."""
    folder = tmp_path_factory.mktemp("shared")
    collector = CollectorProcess(folder / "store", folder / "collector.log")
    yield collector
    assert collector.terminate() == 0, collector.log()


@pytest.fixture
def start_collector(tmp_path):
    """A function that starts a collector; its folder is `tmp_path/store` unless told otherwise."""
    started: list[CollectorProcess] = []

    def start(*extra: str, folder: Path | None = None, **settings) -> CollectorProcess:
        folder = folder or tmp_path / "store"
        collector = CollectorProcess(folder, tmp_path / "collector.log", *extra, **settings)
        started.append(collector)
        return collector

    yield start
    for collector in started:
        if collector.process.poll() is None:
            collector.kill()


@pytest.fixture
def collector(start_collector):
    return start_collector()
