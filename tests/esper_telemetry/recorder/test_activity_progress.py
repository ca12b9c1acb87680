"""Progress is recorded at most once a second, and never its beginning or its end left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from esper_telemetry.errors import SchemaError
from esper_telemetry.recorder import activity
from esper_telemetry.testing import memory_run, recorded


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands: [seconds]."""
    now = [0.0]
    monkeypatch.setattr(activity, "monotonic", lambda: now[0])
    return now


def reports(sink):
    return [event.data for event in recorded(sink) if event.name == "run.progress"]


def test_first_and_last_are_recorded_and_once_a_second_between(clock):
    run, sink = memory_run()
    for done in range(33):
        run.progress(done=done, total=32, unit="batch", batch_idx=done)
        clock[0] += 0.125
    run.close()
    found = reports(sink)
    assert [data["done"] for data in found] == [0, 8, 16, 24, 32]
    assert found[0] == {"done": 0.0, "total": 32.0, "unit": "batch", "batch_idx": 0}


def test_the_end_is_recorded_once(clock):
    run, sink = memory_run()
    for _ in range(5):
        run.progress(done=7, total=7)
    run.close()
    assert len(reports(sink)) == 1


def test_units_are_counted_apart_and_a_new_total_is_news(clock):
    run, sink = memory_run()
    run.progress(done=1, total=10, unit="epoch")
    run.progress(done=1, total=500)
    run.progress(done=2, total=10, unit="epoch")
    run.progress(done=2, total=20, unit="epoch")
    run.close()
    assert [(data["unit"], data["done"], data["total"]) for data in reports(sink)] == [
        ("epoch", 1, 10), ("step", 1, 500), ("epoch", 2, 20),
    ]  # fmt: skip


def test_what_is_not_known_is_absent(clock):
    run, sink = memory_run()
    run.progress(done=np.int64(3))
    run.progress(total=9, unit="epoch")
    run.close()
    assert reports(sink) == [{"done": 3.0, "unit": "step"}, {"total": 9.0, "unit": "epoch"}]


@pytest.mark.parametrize("done", [torch.ones(1), "3", [1], 10**400], ids=repr)
def test_what_is_no_number_is_counted(clock, done):
    run, sink = memory_run(strict=False)
    run.progress(done=done, total=9)
    run.progress(done=math.nan, total=9)
    run.close()
    assert run.stats().dropped == 1
    assert len(reports(sink)) == 1


def test_strict_raises(clock):
    run, _ = memory_run()
    with pytest.raises(SchemaError, match="total"):
        run.progress(done=1, total="many")
    run.close()
