"""SIGTERM, to a real process."""

import signal
import subprocess
import sys

import pytest

from esper_telemetry.recordfile import RecordReader
from esper_telemetry.v1 import run_pb2

PROGRAM = """
import signal, sys, time
import esper_telemetry as et
{before}
{opening}
    for step in range(1000):
        run.emit(et.events.ScalarLogged, name="loss", step=step)
    print(run.paths[0], flush=True)
    time.sleep(60)
"""
WITH = "with et.start_run(sys.argv[1], name='x', record=et.RecordOptions(flush_interval=1000)) as run:"
WITHOUT = "run = et.start_run(sys.argv[1], name='x', record=et.RecordOptions(flush_interval=1000))\nif True:"


@pytest.mark.parametrize("opening", [WITH, WITHOUT], ids=["context manager", "left open"])
def test_sigterm_loses_nothing_and_marks_the_run_interrupted(tmp_path, opening):
    program = PROGRAM.format(before="", opening=opening)
    process = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True)
    path = process.stdout.readline().strip()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    process.stdout.close()
    with RecordReader(path) as reader:
        events = list(reader.events())
        assert reader.closed
    assert len(events) == 1002
    finished = run_pb2.RunFinished.FromString(events[-1].payload)
    assert finished.outcome == run_pb2.RUN_OUTCOME_INTERRUPTED


def test_a_handler_of_the_program_is_left_alone(tmp_path):
    before = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))"
    program = PROGRAM.format(before=before, opening=WITH)
    process = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 7
    process.stdout.close()
