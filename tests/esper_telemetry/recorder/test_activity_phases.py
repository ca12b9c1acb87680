"""Phases nest in each thread and task for itself, and never get in the way of an exception."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import torch

import esper_telemetry as et
from esper_telemetry.errors import SchemaError, SinkError
from esper_telemetry.testing import memory_run, recorded


def phases(sink):
    return [event.data for event in recorded(sink) if event.name == "phase.timed"]


def paths(sink):
    return [data["phase"] for data in phases(sink)]


def test_a_phase_is_in_the_record_with_the_phases_around_it(record_run):
    def fill(run):
        with run.phase("batch", batch_idx=1), run.phase("rollout"):
            pass

    inner, outer = (event.data for event in et.read(record_run(fill)) if event.type == "phase.timed")
    assert (inner["phase"], outer["phase"]) == ("batch/rollout", "batch")
    assert 0.0 <= inner["duration_ms"] <= outer["duration_ms"]
    assert not inner["failed"]
    assert outer["batch_idx"] == 1
    assert "batch_idx" not in inner


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_marks_every_phase_it_ends_and_goes_on(error):
    run, sink = memory_run()
    with pytest.raises(error), run.phase("a"), run.phase("b"):
        raise error
    with run.phase("after"):
        pass
    run.close()
    assert [(data["phase"], data["failed"]) for data in phases(sink)] == [("a/b", True), ("a", True), ("after", False)]


def test_threads_have_paths_of_their_own():
    run, sink = memory_run()

    def work():
        with run.phase("worker"):
            pass

    with run.phase("main"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    run.close()
    assert paths(sink) == ["worker", "main"]


def test_tasks_have_paths_of_their_own():
    run, sink = memory_run()

    async def work(name):
        with run.phase(name):
            await asyncio.sleep(0)
            with run.phase("inner"):
                await asyncio.sleep(0)

    async def both():
        await asyncio.gather(work("a"), work("b"))

    asyncio.run(both())
    run.close()
    assert sorted(paths(sink)) == ["a", "a/inner", "b", "b/inner"]


def test_a_generator_closed_elsewhere_ends_its_phase():
    run, sink = memory_run()

    def rollouts():
        with run.phase("rollouts"):
            yield 1

    async def begin(generator):
        next(generator)

    generator = rollouts()
    asyncio.run(begin(generator))
    generator.close()
    run.close()
    assert [(data["phase"], data["failed"]) for data in phases(sink)] == [("rollouts", True)]


def test_a_phase_that_was_left_without_its_end_is_around_nothing():
    run, sink = memory_run()

    def abandoned():
        with run.phase("outer"):
            run.phase("begun").__enter__()  # as if an interrupt had come before its block
            with run.phase("inner"):
                pass

    abandoned()
    run.phase("begun").__enter__()
    with run.phase("after"):
        pass
    run.close()
    assert paths(sink) == ["outer/inner", "outer", "after"]


def test_a_name_that_is_none_is_counted_and_the_block_runs():
    run, sink = memory_run(strict=False)
    ran = []
    with run.phase(torch.ones(1)):
        ran.append(True)
    run.close()
    assert ran
    assert run.stats().drops == {("esper_telemetry.v1.PhaseTimed", "invalid"): 1}
    assert not phases(sink)


def test_strict_raises_before_the_block():
    run, _ = memory_run()
    with pytest.raises(SchemaError, match="a phase was named by a"):
        run.phase(None)
    run.close()


class Broken:
    """A sink that fails once the run has started."""

    def __init__(self, sink):
        self.sink = sink
        self.broken = False

    def write(self, batch):
        if self.broken:
            raise SinkError("no space left")
        self.sink.write(batch)

    def sync(self): ...

    def close(self): ...


def test_a_failed_sink_never_hides_the_exception_of_the_block():
    made = []
    options = et.RecordOptions(on_error="raise", flush_interval=0.01, close_timeout=0.1)
    run, _ = memory_run(record=options, wrap=lambda sink: made.append(Broken(sink)) or made[0])
    made[0].broken = True
    with run.phase("before the failure is known"):
        pass
    while run._core.writer.error is None:
        time.sleep(0.01)
    with pytest.raises(ZeroDivisionError), run.phase("work"):
        raise ZeroDivisionError
    with pytest.raises(SinkError):
        run.close()
