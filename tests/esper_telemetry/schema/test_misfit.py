"""Which exceptions are a bad field, and which only arrived while an event was encoded."""

import fractions
import gc
import numbers
import sys
from collections.abc import Mapping

import pytest

from esper_telemetry import events, testing


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


@pytest.mark.parametrize("kind", [TimeLimitError, TypeError, IndexError, ValueError, KeyError, RuntimeError])
@pytest.mark.parametrize("value", [0.5, fractions.Fraction(1, 2)], ids=["written encoder", "protobuf"])
def test_an_exception_that_arrives_at_any_line_of_emit_reaches_its_caller(kind, value):
    """A trace function raises at one line after the other, as a signal handler may."""
    run, _ = testing.memory_run(strict=False)
    emit = run.bind().emit
    for _ in range(20):
        emit(events.ScalarLogged, name="x", value=value, step=1)
    lines = 0

    def raise_at(target):
        def trace(frame, what, _argument):
            nonlocal lines
            lines += what == "line" and frame.f_code.co_filename != __file__
            if lines == target:
                lines += 1
                raise kind("time is up")
            return trace

        return trace

    raised = 0
    gc.disable()  # a callback of a weak reference is no line of `emit`, and what it raises reaches nobody
    for target in range(1, 200):
        lines = 0
        before = sys.gettrace()
        try:
            sys.settrace(raise_at(target))
            emit(events.ScalarLogged, name="x", value=value, step=1)
        except kind:
            raised += 1
        finally:
            sys.settrace(before)
        if lines < target:
            break
    else:
        pytest.fail("emit never ended")
    gc.enable()
    assert raised == target - 1 > 5
    stats = run.stats()
    assert stats.dropped == 0
    assert stats.offered == sum(stats.recorded.values())
    run.close()
