"""The command line as people run it: a process of its own, its output in a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NamedTuple

import pytest

from tests.esper_telemetry.commands.preloaded import Server

# A process that has loaded readline hands COLUMNS to its children (pytest-xdist's workers have it), and tables of the
# command line fit to COLUMNS: a test that wants a width sets it. Readline (pytest loads it) sets the variable behind
# Python's back, so that it has to be taken away where os.environ does not list it either.
os.environ.pop("COLUMNS", None)
os.unsetenv("COLUMNS")

SERVER = Server()


class Finished(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of stdout; a text in them may hold characters that `splitlines` takes for ends of lines."""
        return self.out.split("\n")[:-1]


def run_cli(*arguments: object, stdin: bytes | None = None, **environment: str) -> Finished:
    """Run `esper-telemetry` with the arguments and return what came of it."""
    called = None if environment else SERVER.call([str(argument) for argument in arguments], stdin, 120)
    if called is not None:
        return Finished(called[0], called[1].decode(), called[2].decode())
    command = [sys.executable, "-m", "esper_telemetry", *map(str, arguments)]
    finished = subprocess.run(
        command, input=stdin, capture_output=True, check=False, env={**os.environ, **environment}, timeout=120
    )
    return Finished(finished.returncode, finished.stdout.decode(), finished.stderr.decode())


@pytest.fixture
def cli():
    return run_cli


def _drop_rights() -> None:
    """Let the mode of a file count for root, too: without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    import ctypes

    libc = ctypes.CDLL(None)
    for capability in (1, 2):
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP: what a program that is executed later has not


@pytest.fixture
def cli_of_anybody():
    """Run `esper-telemetry` as a user for whom the modes of files count."""

    def run(*arguments: object) -> Finished:
        command = [sys.executable, "-m", "esper_telemetry", *map(str, arguments)]
        finished = subprocess.run(command, capture_output=True, check=False, timeout=120, preexec_fn=_drop_rights)
        return Finished(finished.returncode, finished.stdout.decode(), finished.stderr.decode())

    return run
