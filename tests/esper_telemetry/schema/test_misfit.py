"""Which exceptions are a bad field, and which only arrived while an event was encoded."""

import fractions
import numbers
import sys
import threading
import time
from collections.abc import Mapping

import pytest

from esper_telemetry import events, testing
from esper_telemetry.clock import SYSTEM_CLOCK
from esper_telemetry.errors import SchemaError
from esper_telemetry.recorder.core import Core
from esper_telemetry.recorder.options import RecordOptions
from esper_telemetry.recorder.start import open_run
from esper_telemetry.schema.misfit import as_refusal
from esper_telemetry.sinks import MemorySink
from esper_telemetry.v1 import run_pb2


class Odd(numbers.Real):
    """A number that raises when it is read."""

    def __float__(self):
        raise RuntimeError("there is nothing to read")


for method in numbers.Real.__abstractmethods__ - {"__float__"}:
    setattr(Odd, method, None)
Odd.__abstractmethods__ = frozenset()


class OddMapping(Mapping):
    """A mapping that raises when it is read."""

    def __getitem__(self, key):
        raise LookupError("gone")

    def __iter__(self):
        return iter(["a"])

    def __len__(self):
        return 1


class TimeLimitError(Exception):
    """What a time limit raises in a program."""


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (events.ScalarLogged, {"name": "x", "value": Odd()}),
        (events.HistogramSummarized, {"edges": [1.0, Odd()]}),
        (events.RunFinished, {"results": OddMapping()}),
        (events.ScalarLogged, {"name": "x", "value": fractions.Fraction(10**400, 1)}),
        (events.ScalarLogged, {"name": "x", "step": -(2**70)}),
        (events.ScalarLogged, {"name": "\ud800"}),
        (events.ScalarLogged, {"nam": "x"}),
    ],
)
def test_what_a_value_does_when_it_is_read_stays_out_of_the_trainer(cls, fields):
    run, _ = testing.memory_run(strict=False)
    for _ in range(20):  # also when the shape has become a known one
        run.emit(cls, **fields)
    run.close()
    assert run.stats().dropped == 20


def arrives(signal_number):
    raise TimeLimitError(f"signal {signal_number}")


def told_of(kind, *arguments):
    """Return what `kind` raises for the arguments, as an error of the call."""
    try:
        kind(*arguments)
    except (ValueError, TimeLimitError) as error:
        return as_refusal(error)


def refused(error):
    try:
        raise error
    except SchemaError as caught:
        return as_refusal(caught)


def test_what_a_value_raised_becomes_a_refusal():
    assert str(told_of(int, "x")) == "a value raised ValueError when it was looked at"
    error = SchemaError("field 'a' takes a text")
    assert refused(error) is error


def test_what_a_signal_handler_raised_meanwhile_is_no_refusal():
    """Its number is in hand where it was caught, as a value would be that a reader calls a method of."""
    with pytest.raises(TimeLimitError, match="signal 14"):
        told_of(arrives, 14)


class Lines:
    """Raises at one line after the other of the package, as a signal handler may."""

    def __init__(self, kind):
        self.kind, self.target, self.passed = kind, 0, 0

    def trace(self, frame, what, _argument):
        if what == "line" and frame.f_globals.get("__name__", "").startswith("esper_telemetry."):
            self.passed += 1
            if self.passed == self.target:
                raise self.kind("time is up")
        return self.trace

    def each(self, act):
        """Call `act` once for each line that it runs through; tell how often what was raised came out of it."""
        came = 0
        while True:
            self.target, self.passed = self.target + 1, 0
            before = sys.gettrace()
            try:
                sys.settrace(self.trace)
                act()
            except self.kind:
                came += 1
            finally:
                sys.settrace(before)
            if self.passed < self.target:
                return came


@pytest.mark.parametrize("kind", [TimeLimitError, TypeError, IndexError, ValueError, KeyError, RuntimeError])
@pytest.mark.parametrize("value", [0.5, fractions.Fraction(1, 2)], ids=["written encoder", "protobuf"])
def test_an_exception_that_arrives_at_any_line_of_emit_reaches_its_caller(kind, value):
    run, _ = testing.memory_run(strict=False)
    for _ in range(20):
        run.emit(events.ScalarLogged, name="x", value=value, step=1)
    lines = Lines(kind)
    came = lines.each(lambda: run.emit(events.ScalarLogged, name="x", value=value, step=1))
    assert came == lines.target - 1 > 5
    stats = run.stats()
    assert stats.dropped == 0
    assert stats.offered == sum(stats.recorded.values())
    run.close()


CALLS = {
    "first of its type": lambda run: run.bind(env_id=1).emit(events.LevelChanged, reason="x"),
    "message": lambda run: run.emit(events.ScalarLogged(name="x")),
    "refused": lambda run: run.emit(events.ScalarLogged, nothing=1),
    "no event": lambda run: run.emit(dict),
    "flush": lambda run: run.flush(20, sync=True),
    "stats": lambda run: run.stats(),
    "level": lambda run: [run.set_level(level) for level in ("minimal", "debug")],
}


@pytest.mark.parametrize("call", CALLS)
def test_an_exception_at_any_line_of_a_call_leaves_the_run_whole(call):
    run, sink = testing.memory_run(strict=False)
    lines = Lines(TimeLimitError)
    came = lines.each(lambda: CALLS[call](run))
    assert came == lines.target - 1 > 5
    run.emit(events.ScalarLogged, name="after")
    assert run.flush(20)
    run.close()
    stats = run.stats()
    found = testing.recorded(sink)
    assert len(found) + stats.dropped == stats.offered == found[-1].seq
    assert found[-1].data["offered"] == stats.offered


def test_an_exception_at_any_line_of_close_leaves_an_end_that_is_written_once():
    lines, ends = Lines(TimeLimitError), []

    def begin_and_close():
        tracer = sys.gettrace()
        sys.settrace(None)
        run, sink = testing.memory_run(strict=False)
        run.emit(events.ScalarLogged, name="x")
        sys.settrace(tracer)
        try:
            run.close("interrupted")
        finally:
            sys.settrace(None)
            run.close("failed")
            names = [event.name for event in testing.recorded(sink)]
            ends.append((names, sink.closed))

    came = lines.each(begin_and_close)
    assert came == lines.target - 1 > 5
    assert all(end == (["run.started", "scalar.logged", "run.finished"], True) for end in ends)


def test_an_exception_at_any_line_of_the_start_leaves_no_thread_and_no_open_sink():
    lines, sinks = Lines(TimeLimitError), []
    before = set(threading.enumerate())

    def begin():
        core = Core(RecordOptions(), SYSTEM_CLOCK, [], 4, strict=False)
        sinks.append(MemorySink())
        run = open_run(core, lambda _: sinks[-1], run_pb2.RunStarted(run_id="begun"))
        sys.settrace(None)
        run.close()

    came = lines.each(begin)
    assert came == lines.target - 1 > 5
    deadline = time.monotonic() + 30
    while set(threading.enumerate()) - before or not all(sink.closed for sink in sinks if sink.batches):
        assert time.monotonic() < deadline
        time.sleep(0.01)
