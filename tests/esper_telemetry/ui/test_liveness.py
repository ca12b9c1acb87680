"""A run lives, is slow, stale, ended or gone by what its record tells."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from esper_telemetry.decode import read
from esper_telemetry.ui.liveness import Life, Pulse
from esper_telemetry.ui.origin import Phase
from esper_telemetry.v1 import process_pb2, run_pb2, training_pb2

SECOND = 1_000_000_000
NOW = 1_795_386_808 * SECOND


def at(seconds: float) -> dict[str, int]:
    return {"time": NOW + int(seconds * SECOND)}


def scalar(seconds: float):
    return training_pb2.ScalarLogged(name="loss", value=1.0), at(seconds)


def beat(seconds: float, **fields):
    return process_pb2.RunHeartbeat(**fields), at(seconds)


class Case(NamedTuple):
    events: list
    now: float
    life: Life
    says: str
    phase: Phase = Phase.LIVE


CASES = {
    "it emits": Case([scalar(0)], 2, Life.LIVE, "last event 2.0 s ago"),
    "nothing came yet": Case([], 0, Life.READING, "no event"),
    "history is read": Case([scalar(0)], 1, Life.READING, "stored", Phase.HISTORY),
    "silent, its heart beats": Case(
        [scalar(0), beat(120, main_thread_alive=True, main_thread_at="step (train.py:3)")],
        125,
        Life.SLOW,
        "no event for 2 min; its main thread is in step (train.py:3)",
    ),
    "its main thread ended": Case([scalar(0), beat(60, main_thread_alive=False)], 61, Life.SLOW, "has ended"),
    "silent, no heartbeat": Case([scalar(0)], 90, Life.STALE, "no heartbeat either"),
    "the heart stopped too": Case([scalar(0), beat(30)], 30 + 61, Life.STALE, "nothing for"),
    "it ended": Case([scalar(0), (run_pb2.RunFinished(outcome=1), at(1))], 9999, Life.ENDED, "completed"),
    "its writer is gone": Case([scalar(0)], 5, Life.GONE, "writer is gone", Phase.ENDED),
    "another attempt began": Case(
        [(run_pb2.RunFinished(outcome=2), at(0)), (run_pb2.RunStarted(name="again"), at(9))],
        10,
        Life.LIVE,
        "last event",
    ),
    "a clock ahead of ours": Case([scalar(30)], 0, Life.LIVE, "last event 0.0 s ago"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_liveness_of_a_run(name, write_record):
    case = CASES[name]
    pulse = Pulse()
    if case.events:
        for event in read(write_record(case.events), expand=True):
            pulse.feed(event)
    found = pulse.at(NOW + int(case.now * SECOND), case.phase)
    assert (found.life, case.says in found.text) == (case.life, True), found
