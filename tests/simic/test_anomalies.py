"""Anomalies, trends and escalation, judged by numbers."""

import math

import pytest

from esper.simic.anomalies import Escalation, TrendTracker, find_anomalies

HEALTHY = {
    "policy_loss": 0.1,
    "value_loss": 0.5,
    "entropy": 2.0,
    "kl_divergence": 0.01,
    "ratio_min": 0.8,
    "ratio_max": 1.3,
    "explained_variance": 0.4,
}


def kinds(update=10, grad_norm=1.0, **change):
    return [found.kind for found in find_anomalies({**HEALTHY, **change}, grad_norm, update=update)]


def test_a_healthy_update_has_none():
    assert kinds() == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"ratio_max": 5.1}, "ratio_explosion"),
        ({"ratio_min": 0.09}, "ratio_collapse"),
        ({"explained_variance": -0.6}, "value_collapse"),
        ({"value_loss": math.inf}, "numerical_instability"),
        ({"grad_norm": math.nan}, "numerical_instability"),
    ],
)
def test_each_threshold_is_found(change, kind):
    assert kinds(**change) == [kind]


@pytest.mark.parametrize("change", [{"ratio_max": 5.0}, {"ratio_min": 0.1}, {"explained_variance": -0.5}])
def test_a_value_at_its_threshold_is_none(change):
    assert kinds(**change) == []


def test_a_young_value_function_may_explain_nothing():
    assert kinds(update=5, explained_variance=-3.0) == []
    assert kinds(update=6, explained_variance=-3.0) == ["value_collapse"]


def test_what_is_not_finite_is_judged_as_that_alone():
    found = find_anomalies({**HEALTHY, "policy_loss": math.nan, "ratio_max": 9.0}, 1.0, update=10)
    assert [(one.kind, one.metric, one.threshold) for one in found] == [("numerical_instability", "policy_loss", None)]


def test_an_unmeasured_norm_is_no_anomaly():
    assert kinds(grad_norm=None) == []


def test_escalation_lasts_its_batches_from_the_last_anomaly():
    escalation = Escalation(2)
    seen = [escalation.step(anomaly=sick) for sick in (False, True, True, False, False, False, False)]
    assert seen == [None, "start", None, None, "stop", None, None]


def test_escalation_can_start_again():
    escalation = Escalation(1)
    assert [escalation.step(anomaly=sick) for sick in (True, False, True, False)] == ["start", "stop", "start", "stop"]


def test_no_batches_mean_no_escalation():
    assert Escalation(0).step(anomaly=True) is None


def trends(accuracies):
    tracker = TrendTracker()
    return [change["trend"] for accuracy in accuracies if (change := tracker.add(accuracy))]


def test_a_trend_is_reported_when_it_changes():
    assert trends([50.0, 50.0, 50.0]) == ["plateau"]
    assert trends([50.0 + 3 * n for n in range(8)]) == ["improvement"]
    rising_then_falling = [50.0 + 5 * n for n in range(8)] + [85.0 - 9 * n for n in range(12)]
    assert trends(rising_then_falling) == ["improvement", "plateau", "degradation"]


def test_the_first_batch_has_no_trend():
    tracker = TrendTracker()
    assert tracker.rolling is None
    assert tracker.add(50.0) is None
    assert tracker.rolling == 50.0


def test_a_trend_carries_what_was_compared():
    tracker = TrendTracker()
    tracker.add(50.0)
    assert tracker.add(54.0) == {
        "trend": "improvement",
        "rolling_accuracy": 52.0,
        "previous_accuracy": 50.0,
        "threshold": 1.0,
    }


def test_the_rolling_mean_covers_ten_batches():
    tracker = TrendTracker()
    for accuracy in [0.0] * 5 + [10.0] * 10:
        tracker.add(accuracy)
    assert tracker.rolling == 10.0


def test_a_tracker_goes_on_from_its_state():
    first, second = TrendTracker(), TrendTracker()
    for accuracy in (50.0, 60.0, 70.0):
        first.add(accuracy)
    second.load(first.state())
    assert second.add(20.0) == first.add(20.0)
    assert second.rolling == first.rolling
