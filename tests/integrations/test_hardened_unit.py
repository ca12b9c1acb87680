"""What the unit forbids is what a collector does without: its system calls, as strace sees them, are all allowed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import esper_telemetry as et
from esper_telemetry import collector

pytestmark = pytest.mark.integrations
UNIT = (Path(collector.__file__).parent / "deploy" / "esper-telemetry-collector.service").read_text()
CALL = re.compile(r"(?m)^(?:\d+ +)?(\w+)\(")
# SQLite hands its files to their owner, as root only; the unit's user is another.
AS_ROOT = {"fchown"}


@cache
def calls_of(group: str) -> frozenset[str]:
    """Return the system calls of a group of systemd's."""
    command = ["systemd-analyze", "syscall-filter", group]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[1:]
    words = [word for word in map(str.strip, lines) if word and not word.startswith("#")]
    return frozenset().union(*(calls_of(word) if word.startswith("@") else {word} for word in words))


def allowed() -> set[str]:
    """Return what the lines of the unit leave, in their order."""
    left: set[str] = set()
    for line in re.findall(r"(?m)^SystemCallFilter=(.*)$", UNIT):
        named = frozenset().union(*(calls_of(word) for word in line.lstrip("~").split()))
        left = left - named if line.startswith("~") else left | named
    return left


def test_a_collector_that_takes_stores_and_drains_calls_nothing_that_is_forbidden(tmp_path):
    for program in ("strace", "systemd-analyze"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    trace = tmp_path / "trace"
    command = [
        "strace",
        "-f",
        "-o",
        trace,
        sys.executable,
        "-m",
        "esper_telemetry",
        "collect",
        "--dir",
        tmp_path / "runs",
    ]
    command += ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    port = next(found[1] for line in process.stderr if (found := re.search(r"listening on 127\.0\.0\.1:(\d+)", line)))
    with et.start_run(tmp_path / "local", name="traced") as run:
        run.emit(et.events.ScalarLogged, name="loss", value=1.0, step=1)
    push = [sys.executable, "-m", "esper_telemetry", "push", str(run.folder), f"127.0.0.1:{port}"]
    subprocess.run(push, check=True, capture_output=True)
    traced = int(re.match(r"\d+", trace.read_text())[0])
    os.kill(traced, signal.SIGTERM)
    process.communicate(timeout=120)
    text = trace.read_text()
    assert "fdatasync(" in text
    assert set(CALL.findall(text)) - allowed() <= AS_ROOT
    writable_code = re.findall(r"(?m)^.*(?:mmap|mprotect)\([^)]*PROT_WRITE\|PROT_EXEC.*$", text)
    assert not writable_code, "MemoryDenyWriteExecute would refuse it"
