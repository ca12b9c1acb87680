"""`esper-telemetry top` in a real terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time


def test_in_a_terminal_it_shows_the_run_and_ends_with_q(record_run):
    folder = record_run(name="in-a-terminal")
    pid, terminal = pty.fork()
    if not pid:  # the child becomes the program
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, "-m", "esper_telemetry", "top", str(folder)])  # noqa: S606
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        assert b"in-a-terminal" in read_until(terminal, b"in-a-terminal")
        os.write(terminal, b"5")
        assert b"seed.culled" in read_until(terminal, b"seed.culled")
        os.write(terminal, b"q")
        _, status = os.waitpid(pid, 0) if drained(terminal) else (0, -1)
        assert os.waitstatus_to_exitcode(status) == 0
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        os.close(terminal)


def read_until(terminal: int, wanted: bytes, seconds: float = 60.0) -> bytes:
    """Read what a terminal shows until it shows `wanted`."""
    seen = b""
    deadline = time.monotonic() + seconds
    while wanted not in seen:
        assert time.monotonic() < deadline, seen[-3000:]
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 65536)
    return seen


def drained(terminal: int) -> bool:
    """Read what is left until the program has closed its end."""
    with contextlib.suppress(OSError):
        while os.read(terminal, 65536):
            pass
    return True


def test_without_a_terminal_it_says_what_to_use(cli, record_run):
    done = cli("top", record_run())
    assert (done.code, "needs a terminal" in done.err) == (1, True)
