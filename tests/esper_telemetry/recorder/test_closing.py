"""The end of a run cannot fail: through real files and real exceptions."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest
import torch

import esper_telemetry as et
from esper_telemetry import errors, events, testing


def last(run) -> dict:
    event = list(et.read(run.folder))[-1]
    assert event.type == "run.finished"
    return event.data


class NoTextError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Stubborn:
    """A value that raises whatever is asked of it."""

    def __getattr__(self, name):
        raise RuntimeError(name)

    __str__ = __repr__ = __float__ = __index__ = __iter__ = __len__ = __bool__ = lambda self: 1 / 0


@pytest.mark.parametrize(
    "error",
    [NoTextError(), ValueError("\udce9"), ValueError("x" * 10**7), ValueError(Stubborn()), NoTextError(NoTextError())],
    ids=type,
)
def test_the_exception_of_the_body_goes_on_unchanged_and_everything_is_stored(tmp_path, error):
    run = et.start_run(tmp_path, name="x")
    for step in range(500):
        run.emit(events.ScalarLogged, name="loss", value=1.0, step=step)
    with pytest.raises(type(error)) as caught, run:
        raise error
    assert caught.value is error
    assert last(run)["outcome"] == "failed"
    assert last(run)["error_type"] == type(error).__name__
    assert len(list(et.read(run.folder, types="scalar.logged"))) == 500


@pytest.mark.parametrize(
    "results", [{"a": Stubborn()}, {Stubborn(): 1}, Stubborn(), None, {"t": torch.zeros(3)}, {"x" * 10**6: 1}], ids=type
)
def test_results_of_any_kind_cost_only_themselves(tmp_path, results):
    with et.start_run(tmp_path, name="x") as run:
        run.emit(events.ScalarLogged, name="loss", value=1.0)
        run.results = results
    assert last(run)["outcome"] == "completed"
    assert last(run)["dropped"] == 0


def test_results_left_out_are_named_in_the_record(tmp_path):
    with et.start_run(tmp_path, name="x") as run:
        run.results.update(good=1, bad=torch.zeros(()))
    assert last(run)["results"] == {"good": 1.0}
    assert last(run)["results_left_out"] == ["bad"]


def test_many_results_fit_into_the_last_event(tmp_path):
    with et.start_run(tmp_path, name="x") as run:
        run.results = {f"{number:05}" + "x" * 1000: number for number in range(10_000)}
    assert len(last(run)["results"]) == 1000


def test_a_text_that_emits_while_the_run_ends_blocks_nothing(tmp_path):
    class TalkativeError(Exception):
        def __str__(self):
            run.emit(events.ScalarLogged, name="last words", value=1.0)
            return "said"

    with pytest.raises(TalkativeError), et.start_run(tmp_path, name="x") as run:
        raise TalkativeError
    assert last(run)["error_message"] == "said"
    assert last(run)["offered"] == 3


@pytest.mark.parametrize("arriving", [KeyboardInterrupt, SystemExit])
def test_an_exception_that_arrives_meanwhile_goes_on_and_the_record_is_closed(tmp_path, arriving):
    class Interrupting(dict):
        def items(self):
            raise arriving

    run = et.start_run(tmp_path, name="x")
    run.results = Interrupting()
    with pytest.raises(arriving), run:
        run.emit(events.ScalarLogged, name="loss", value=1.0)
    assert last(run)["outcome"] == "completed"
    assert run.stats().dropped == 0


def test_a_clock_that_fails_costs_the_duration_alone(tmp_path):
    clock = testing.FakeClock()
    with et.start_run(tmp_path, name="x", clock=clock) as run:
        clock.advance(-3)
    assert "duration_s" not in last(run)
    assert last(run)["outcome"] == "completed"


def test_the_duration_is_that_of_the_clock_that_stamps_the_events(tmp_path):
    clock = testing.FakeClock()
    with et.start_run(tmp_path, name="x", clock=clock) as run:
        clock.advance(7200)
    assert last(run)["duration_s"] == 7200


@pytest.mark.parametrize(("said", "outcome"), [("completed", "completed"), ("abandoned", "abandoned"), ("done", None)])
def test_close_takes_any_word_for_an_outcome(tmp_path, said, outcome):
    run = et.start_run(tmp_path, name="x")
    run.close(said)
    assert last(run).get("outcome") == outcome
    assert last(run).get("reason") == (None if outcome else "unknown outcome 'done'")


def test_an_error_alone_tells_the_outcome(tmp_path):
    run = et.start_run(tmp_path, name="x")
    run.close(error=ValueError("diverged"))
    run.close()
    assert (last(run)["outcome"], last(run)["error_message"]) == ("failed", "diverged")
    assert len(list(et.read(run.folder, types="run.finished"))) == 1


def test_a_run_that_is_closed_in_a_finally_failed(tmp_path):
    run = et.start_run(tmp_path, name="x")

    def train():
        try:
            raise ValueError("diverged")
        finally:
            run.close()

    with pytest.raises(ValueError, match="diverged"):
        train()
    assert (last(run)["outcome"], last(run)["error_message"]) == ("failed", "diverged")


def test_an_exception_that_is_older_than_the_run_does_not_end_it(tmp_path):
    with contextlib.ExitStack() as handling:
        handling.push(lambda *_: runs.append(et.start_run(tmp_path, name="second trial")) or runs[0].close() or True)
        runs = []
        raise ValueError("first trial")
    assert last(runs[0])["outcome"] == "completed"


def test_a_body_that_ran_to_its_end_is_completed_whatever_is_handled_around_it(tmp_path):
    run = et.start_run(tmp_path, name="x")

    def second_attempt(*_):
        with run:
            return True

    with contextlib.ExitStack() as handling:
        handling.push(second_attempt)
        raise ValueError("first attempt")
    assert last(run)["outcome"] == "completed"


@pytest.mark.parametrize("arriving", [KeyboardInterrupt, SystemExit])
def test_what_arrives_while_the_exception_is_read_goes_on_and_the_record_is_closed(tmp_path, arriving):
    class SlowError(Exception):
        def __str__(self):
            raise arriving

    run = et.start_run(tmp_path, name="x")
    with pytest.raises(arriving), run:
        raise SlowError
    assert "outcome" not in last(run)
    assert last(run)["reason"].startswith("how it ended is unknown")


def test_a_sink_that_fails_hides_no_exception_of_the_body(caplog):
    class Failing:
        def __init__(self, sink):
            self._sink = sink
            self.fails = False

        def write(self, batch):
            if self.fails:
                raise errors.SinkError("the disk is full")
            self._sink.write(batch)

        def sync(self):
            pass

        close = sync

    made = []
    options = et.RecordOptions(on_error="raise", close_timeout=0.2)
    run, _ = testing.memory_run(record=options, wrap=lambda sink: made.append(Failing(sink)) or made[0])
    made[0].fails = True
    with pytest.raises(ZeroDivisionError), run:
        raise ZeroDivisionError
    assert "the disk is full; its body raised as well" in caplog.text


def test_an_error_of_our_own_at_the_end_is_said_and_never_raised(tmp_path, mocker, caplog):
    run = et.start_run(tmp_path, name="x")
    mocker.patch.object(type(run._core.writer), "finish", None)  # a bug
    with caplog.at_level(logging.WARNING), run:
        pass
    assert "could not be closed in good order" in caplog.text
    mocker.stopall()
    run._core.writer.finish(5.0)


def test_a_cancelled_task_and_a_task_group_are_interrupted(tmp_path):
    runs = []

    async def train():
        with et.start_run(tmp_path, name="x") as run:
            runs.append(run)
            await asyncio.sleep(30)

    async def cancelled():
        task = asyncio.create_task(train())
        await asyncio.sleep(0)  # it runs up to its own first wait
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def group():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(train())
            await asyncio.sleep(0)
            raise ValueError("another task failed")

    asyncio.run(cancelled())
    with pytest.raises(ExceptionGroup):
        asyncio.run(group())
    assert [last(run)["outcome"] for run in runs] == ["interrupted", "interrupted"]
