"""The calls beside `emit`, from the outside: as a trainer uses them, in every state a run can be in."""

from __future__ import annotations

import collections.abc
import numbers
import sys
import threading
from fractions import Fraction

import pytest

import esper_telemetry as et
from esper_telemetry.recorder.shorthand import Shorthand
from esper_telemetry.testing import memory_run, recorded

CALLS = {
    "log": lambda run: run.log({"loss": 0.5, "note": "text"}, step=1),
    "log_text": lambda run: run.log_text("t", "text"),
    "log_histogram": lambda run: run.log_histogram("h", [1.0]),
    "log_artifact": lambda run: run.log_artifact(b"x", name="x"),
    "progress": lambda run: run.progress(done=1, total=2),
    "phase": lambda run: run.phase("p").__enter__(),
}


def test_every_public_method_is_called_here():
    assert set(CALLS) == {name for name in vars(Shorthand) if not name.startswith("_")}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_run_that_is_turned_off_does_nothing(call, monkeypatch, tmp_path):
    monkeypatch.setenv("ESPER_TELEMETRY_DISABLED", "1")
    with et.start_run(tmp_path, name="off") as run:
        call(run)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_nothing_is_raised_after_the_end(call):
    run, sink = memory_run(strict=False)
    run.close()
    call(run)
    assert [event.name for event in recorded(sink)] == ["run.started", "run.finished"]


@pytest.mark.parametrize("level", ["off", "lifecycle"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_level_below_records_nothing_and_counts_no_loss(call, level):
    run, sink = memory_run(level=level)
    call(run)
    run.close()
    assert {event.name for event in recorded(sink)} <= {"run.started", "run.finished", "telemetry.disabled"}
    assert run.stats().dropped == 0


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_context_that_does_not_exist_is_counted_and_raises_nothing(call):
    run, _ = memory_run(strict=False)
    with run.phase("p", planet="mars"):
        pass
    run.log({"x": 1.0}, planet="mars")
    run.close()
    assert run.stats().dropped == 2


def test_a_context_holds_for_one_call():
    run, sink = memory_run()
    run.log({"x": 1.0}, env_id=3, batch_idx=2)
    run.log({"x": 2.0})
    run.close()
    assert [event.data for event in recorded(sink) if event.name == "scalars.logged"] == [
        {"scalars": {"x": 1.0}, "env_id": 3, "batch_idx": 2},
        {"scalars": {"x": 2.0}},
    ]


def test_threads_may_call_all_of_them_at_once(tmp_path):
    with et.start_run(tmp_path, name="threads") as run:

        def work():
            for _ in range(50):
                with run.phase("p"):
                    for name, call in CALLS.items():
                        if name != "phase":
                            call(run)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    counts = run.stats().recorded
    assert {name: counts[name] for name in ("scalars.logged", "text.logged", "artifact.logged", "phase.timed")} == {
        "scalars.logged": 200, "text.logged": 400, "artifact.logged": 200, "phase.timed": 200,
    }  # fmt: skip
    assert run.stats().dropped == 0


class Mapping(collections.abc.Mapping):
    """A mapping whose items cannot be had."""

    def __getitem__(self, key):
        raise OSError("the store behind it is gone")

    def __iter__(self):
        raise OSError("the store behind it is gone")

    def __len__(self):
        return 1


class Number(numbers.Real):
    """A number that raises when it is looked at."""

    def __float__(self):
        raise TimeoutError("the server behind it does not answer")

    __abs__ = __add__ = __ceil__ = __eq__ = __floor__ = __floordiv__ = __le__ = __lt__ = __mod__ = __mul__ = None
    __neg__ = __pos__ = __pow__ = __radd__ = __rfloordiv__ = __rmod__ = __rmul__ = __round__ = __rpow__ = None
    __rtruediv__ = __truediv__ = __trunc__ = __hash__ = None


class Figure:
    def savefig(self, file, *, format):  # noqa: A002
        raise OSError("no font")


MISFITS = {
    "log a mapping": lambda run: run.log(Mapping()),
    "log a mapping inside": lambda run: run.log({"x": Mapping()}),
    "log a number": lambda run: run.log({"x": Number()}),
    "log a step": lambda run: run.log({}, step=Number()),
    "a histogram": lambda run: run.log_histogram("h", [Number()]),
    "bins": lambda run: run.log_histogram("h", [1.0], bins=[Number()]),
    "progress": lambda run: run.progress(done=Number()),
    "an artifact": lambda run: run.log_artifact(Figure()),
}


@pytest.mark.parametrize("call", MISFITS.values(), ids=MISFITS)
def test_what_a_value_raises_when_it_is_looked_at_is_counted(call):
    run, _ = memory_run(strict=False)
    call(run)
    run.close()
    assert list(run.stats().drops.values()) == [1]


@pytest.mark.parametrize("name", ["log", "log_histogram", "progress"])
def test_what_a_signal_handler_raises_meanwhile_is_the_callers(name, monkeypatch):
    """The handler runs between two instructions of ours: here between two of a function that each of them calls."""

    def interrupted(_name, _value):
        raise TimeoutError

    for module in ("scalars", "histogram", "activity"):
        monkeypatch.setattr(f"esper_telemetry.recorder.{module}.plain_value", interrupted)
    calls = {**CALLS, "log": lambda run: run.log({"x": 1})}
    run, _ = memory_run(strict=False)
    with pytest.raises(TimeoutError):
        calls[name](run)
    run.close()
    assert run.stats().dropped == 0


class TimeLimitError(Exception):
    """What a handler of a time limit raises."""


def raising_at(target, lines):
    """Return a trace function that raises at a line of the SDK, as a signal handler may."""

    def trace(frame, what, _argument):
        lines[0] += what == "line" and "esper_telemetry" in frame.f_code.co_filename
        if lines[0] == target:
            lines[0] += 1
            raise TimeLimitError("time is up")
        return trace

    return trace


def phased(run):
    with run.phase("p"):
        pass


INTERRUPTED = {
    **{name: CALLS[name] for name in ("log_text", "log_histogram", "progress")},
    "log": lambda run: run.log({"loss": 0.5, "n": 1, "deep": {"x": Fraction(1, 2)}}, step=1),
    "phase": phased,
}


@pytest.mark.parametrize("call", INTERRUPTED.values(), ids=INTERRUPTED)
def test_an_exception_that_arrives_at_any_line_of_a_call_reaches_its_caller(call):
    run, _ = memory_run(strict=False)
    monitored = 0
    for target in range(1, 1000):
        lines, before = [0], sys.gettrace()
        try:
            sys.settrace(raising_at(target, lines))
            call(run)
        except TimeLimitError:
            monitored += 1
        finally:
            sys.settrace(before)
        if lines[0] < target:
            break
    assert monitored == target - 1 > 5
    run.close()
    assert run.stats().dropped == 0, "nothing was taken for a bad value"
