"""Progress is for a person at a terminal, and for nobody else."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import pytest

from esper_telemetry.commands.progress import counted, measured, progress

if TYPE_CHECKING:
    from collections.abc import Iterator

WORK = """
    import sys
    from esper_telemetry.commands.progress import progress
    with progress("working", 10) as show:
        for done in range(11):
            show(done)
    print("done")
"""


def test_nothing_is_shown_in_a_pipe(capsys):
    assert list(counted(range(5_000), "counting", 5_000)) == list(range(5_000))
    with progress("working", 10) as show:
        show(5)
    assert capsys.readouterr() == ("", "")


def on_a_terminal(*command: object) -> tuple[int, bytes, bytes]:
    """Run a command with a terminal as its stderr; return its exit code, its stdout and what the terminal showed."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []
    with subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    ) as process:
        os.close(theirs)
        reader = threading.Thread(target=lambda: shown.extend(_read_terminal(ours)))
        reader.start()
        out = process.stdout.read()
        code = process.wait()
    reader.join()
    os.close(ours)
    return code, out, b"".join(shown)


def _read_terminal(ours: int) -> Iterator[bytes]:
    """Yield what a terminal is given until nobody holds it any more: a read returns what is there, not all."""
    with contextlib.suppress(OSError):  # EIO is its end of file
        while data := os.read(ours, 65_536):
            yield data


def test_a_bar_is_shown_on_a_terminal_and_stdout_stays_clean():
    code, out, shown = on_a_terminal("-c", textwrap.dedent(WORK))
    assert (code, out) == (0, b"done\n")
    assert b"working" in shown


@pytest.mark.parametrize(
    ("verb", "title", "output"),
    [
        ("verify", b"verifying", None),
        ("recover", b"recovering", "saved"),
        ("merge", b"merging", "joined.esr.zst"),
        ("filter", b"filtering", "chosen"),
    ],
)
def test_long_work_shows_a_bar_on_a_terminal(record_run, tmp_path, verb, title, output):
    options = () if output is None else ("-o", tmp_path / output)
    code, out, shown = on_a_terminal("-m", "esper_telemetry", verb, record_run(), *options)
    assert code == 0, shown
    assert title in shown
    assert b"100%" in shown
    assert title not in out


def test_every_file_has_its_part_of_the_bar(tmp_path, mocker):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path, size in zip(paths, (100, 300), strict=True):
        path.write_bytes(bytes(size))
    shown = []
    bar = mocker.patch("esper_telemetry.commands.progress.progress")
    bar.return_value.__enter__.return_value = shown.append
    with measured(paths, "working") as work:
        for _, show in work:
            show(1, 2)
            show(2, 2)
    assert shown == [50, 100, 250, 400]
