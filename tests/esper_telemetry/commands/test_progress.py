"""Progress is for a person at a terminal, and for nobody else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import textwrap

from esper_telemetry.commands.progress import counted, progress

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


def test_a_bar_is_shown_on_a_terminal_and_stdout_stays_clean():
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WORK)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    ) as process:
        os.close(theirs)
        out = process.stdout.read()
        assert process.wait() == 0
    shown = os.read(ours, 65_536)
    os.close(ours)
    assert out == b"done\n"
    assert b"working" in shown
