"""Warnings of a run are written by its writer thread: what arrives in the training thread is never swallowed."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading

import pytest

import esper_telemetry as et
from esper_telemetry import events
from esper_telemetry.errors import SchemaError
from esper_telemetry.recorder.notices import Mistakes, notify, settle_notices


@pytest.fixture
def handled():
    """What a handler of the program was given, and by which thread."""
    found = []

    class Handler(logging.Handler):
        def emit(self, record):
            found.append((threading.current_thread().name, record.getMessage()))

    handler = Handler()
    logging.getLogger("esper_telemetry").addHandler(handler)
    yield found
    logging.getLogger("esper_telemetry").removeHandler(handler)


def test_the_same_mistake_is_reported_once_whatever_the_value(handled):
    mistakes = Mistakes()
    for value in range(3):
        mistakes.report("a", SchemaError(f"it was given {value}", about="value"))
        mistakes.report("b", SchemaError(f"it was given {value}", about="value"))
    settle_notices()
    assert [text.split()[0] for _, text in handled] == ["a", "b"]


def test_new_mistakes_all_the_time_have_an_end(handled):
    mistakes = Mistakes()
    for number in range(1000):
        mistakes.report("a", SchemaError(f"mistake {number}"))
    settle_notices()
    assert len(mistakes) == len(handled) < 300


def test_a_log_handler_that_makes_mistakes_is_not_called_for_them():
    mistakes, heard = Mistakes(), []

    class Handler(logging.Handler):
        def emit(self, record):
            heard.append(record.getMessage())
            mistakes.report("a", SchemaError(f"from the handler, {len(heard)}"))

    handler = Handler()
    logging.getLogger("esper_telemetry").addHandler(handler)
    try:
        mistakes.report("a", SchemaError("first"))
        settle_notices()
    finally:
        logging.getLogger("esper_telemetry").removeHandler(handler)
    assert len(heard) == 1


def test_a_handler_that_raises_ends_neither_the_thread_nor_the_lines_behind_it(handled):
    class Handler(logging.Handler):
        def emit(self, record):
            raise RuntimeError(record.getMessage())

    handler = Handler()
    logging.getLogger("esper_telemetry").addHandler(handler)
    try:
        notify(logging.WARNING, "first")
        notify(logging.WARNING, "second")
        settle_notices()
    finally:
        logging.getLogger("esper_telemetry").removeHandler(handler)
    assert [text for _, text in handled] == ["first", "second"]


def test_the_training_thread_writes_no_warning_of_a_run(tmp_path, handled):
    with et.start_run(tmp_path, name="x") as run:
        run.emit(events.ScalarLogged, nothing=1)
        run.emit(dict)
        assert run.flush(20)
        assert len(handled) == 2
        run.log_artifact(tmp_path / "none")
        run.results["bad"] = object()
    run.emit(events.ScalarLogged, name="late")
    settle_notices()
    texts = " ".join(text for _, text in handled)
    for part in ("it has no field", "is no event class", "without its content", "results['bad']", "lost", "was closed"):
        assert part in texts, part
    assert "MainThread" not in {thread for thread, _ in handled}


def test_what_a_signal_handler_raises_reaches_the_training_thread_while_a_warning_is_written(tmp_path):
    """A handler of logging would swallow it: it catches every Exception that arrives while it writes."""
    program = """
import logging, os, signal, sys, threading, time
import esper_telemetry as et
class Arrived(Exception): pass
def arrive(*_): raise Arrived
signal.signal(signal.SIGUSR1, arrive)
class Handler(logging.Handler):
    def emit(self, record):
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            for _ in range(1000): time.sleep(0.0001)
        except Exception:
            print("swallowed", flush=True)
logging.getLogger("esper_telemetry").addHandler(Handler())
run = et.start_run(sys.argv[1], name="x")
try:
    run.emit(et.events.ScalarLogged, nothing=1)
    for _ in range(200000): time.sleep(0.0001)
except Arrived:
    print("arrived", flush=True)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
run.close()
"""
    command = [sys.executable, "-c", program, tmp_path]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.split() == ["arrived"]


ENDINGS = {
    "the end of the program": "",
    "sys.exit": "sys.exit(3)",
    "an exception": "raise RuntimeError",
    "os._exit after close": "run.close(); os._exit(0)",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_warning_is_there_when_the_process_ends_at_once(tmp_path, ending):
    program = f"""
import os, sys
import esper_telemetry as et
run = et.start_run(sys.argv[1], name="x")
run.emit(et.events.ScalarLogged, nothing=1)
{ending}
"""
    command = [sys.executable, "-c", program, tmp_path]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stderr
    assert said.count("was not recorded (counted as invalid, reported once)") == 1
    assert said.count("telemetry lost 1 of") == 1
