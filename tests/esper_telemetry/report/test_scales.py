"""Scales and ticks: named values lie within the bounds, at steps of 1, 2 or 5, and are told apart by their texts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.report.scales import Scale, nice_bounds, nice_step, spread, ticks, time_ticks

numbers = st.floats(-1e9, 1e9, allow_nan=False)


@given(numbers, st.floats(1e-6, 1e9))
def test_ticks_lie_inside_and_have_texts_of_their_own(low, span):
    high = low + span
    if not high > low or span < abs(low) * 1e-6:
        return
    found = ticks(low, high, 4)
    assert 1 <= len(found) <= 11
    slack = span * 1e-6
    assert all(low - slack <= tick.value <= high + slack for tick in found)
    if span > abs(low) * 1e-3 and max(abs(low), abs(high)) < 1e6:
        assert len({tick.text for tick in found}) == len(found)


@given(numbers, numbers)
def test_bounds_hold_the_values(one, other):
    low, high = min(one, other), max(one, other)
    lower, upper = nice_bounds(low, high, 4, fixed_low=False, fixed_high=False)
    slack = max(abs(low), abs(high), 1) * 1e-9
    assert lower <= low + slack
    assert upper >= high - slack
    assert upper > lower


def test_what_is_not_finite_has_bounds_too():
    assert spread(math.nan, 1.0) == (0.0, 1.0)
    assert spread(3.0, 3.0) == (1.5, 4.5)
    assert spread(0.0, 0.0) == (-0.5, 0.5)


@pytest.mark.parametrize(
    ("low", "high", "unit", "texts"),
    [
        (0, 1, "", ["0.0", "0.5", "1.0"]),
        (0, 100, "%", ["0", "50", "100"]),
        (-0.4, 0.4, "", ["\N{MINUS SIGN}0.4", "\N{MINUS SIGN}0.2", "0.0", "0.2", "0.4"]),
        (0, 3e-4, "", ["0.0000", "0.0001", "0.0002", "0.0003"]),
        (0, 3 << 20, "By", ["0 B", "1.0 MiB", "2.0 MiB", "3.0 MiB"]),
        (0, 2e7, "", ["0", "5e6", "1.0e7", "1.5e7", "2.0e7"]),
    ],
    ids=["share", "percent", "signed", "small", "bytes", "large"],
)
def test_ticks_are_named_as_people_name_them(low, high, unit, texts):
    assert [tick.text for tick in ticks(low, high, 3, unit=unit)] == texts


def test_whole_numbers_are_not_divided():
    assert [tick.text for tick in ticks(0, 3, 10, whole=True)] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("seconds", "texts"),
    [
        (0.4, ["+0.0 s", "+0.2 s", "+0.4 s"]),
        (60, ["00:00:00", "00:00:30", "00:01:00"]),
        (7200, ["00:00", "01:00", "02:00"]),
        (5 * 86400, ["01 Jan", "04 Jan"]),
    ],
    ids=["moment", "minute", "hours", "days"],
)
def test_times_are_named_in_the_units_of_a_clock(seconds, texts):
    assert [tick.text for tick in time_ticks(0, seconds, 2)] == texts


def test_a_value_outside_is_placed_on_the_edge():
    scale = Scale(0, 10, 100, 200)
    assert [scale.at(value) for value in (-5, 0, 5, 10, 99)] == [100, 100, 150, 200, 200]
    assert nice_step(10, 5) == 2
