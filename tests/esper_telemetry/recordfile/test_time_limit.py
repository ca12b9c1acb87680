from __future__ import annotations

import time

import pytest

from esper_telemetry.recordfile.time_limit import TimeLimit


def test_waiting_costs_wall_clock_and_work_costs_both():
    patient, hasty = TimeLimit(0.05, 600.0), TimeLimit(600.0, 0.05)
    time.sleep(0.06)
    assert patient.used() < 1 <= hasty.used()
    assert 0 < patient.left_s() <= 0.05
    assert hasty.left_s() == 0
    while patient.spent_s() < 0.05:
        sum(range(1000))
    assert patient.used() >= 1
    assert patient.left_s() == 0


@pytest.mark.parametrize("limit", [(0.0, 60.0), (60.0, 0.0), (-1.0, 60.0)])
def test_no_time_is_over_at_once(limit):
    assert TimeLimit(*limit).used() >= 1
    assert TimeLimit(*limit).left_s() == 0
