"""Summaries are plain numbers; what cannot be had of them is None."""

from __future__ import annotations

import math

from esper_telemetry.counters.summaries import Moments, ScalarSummary, joined_moments


def test_mean_and_spread_need_a_finite_value():
    nothing = ScalarSummary(2, 0.0, None, None, 2, 0.0, 0.0)
    assert (nothing.mean, nothing.std) == (None, None)
    some = ScalarSummary(2, 4.0, 1.0, 3.0, 0, 2.0, 2.0)
    assert (some.mean, some.std) == (2.0, 1.0)


def test_sets_that_are_empty_or_overflow_do_not_spoil_the_others():
    assert joined_moments([]) == joined_moments([Moments(0.0, 0.0, 0.0)]) == Moments(0.0, 0.0, 0.0)
    assert joined_moments([Moments(2.0, 4.0, 1.0), Moments(0.0, 0.0, 0.0)]) == Moments(2.0, 4.0, 1.0)
    assert joined_moments([Moments(1.0, 1e308, 0.0), Moments(1.0, 1e308, 0.0)]).sum == math.inf
