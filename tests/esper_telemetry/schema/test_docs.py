"""What `help` shows of an event class: policy, fields, units, ranges, labels."""

from __future__ import annotations

import pytest

from esper_telemetry import events
from esper_telemetry.schema.docs import event_doc
from tests.esper_telemetry.schema.foreign import foreign_event
from tests.esper_telemetry.schema.strategies import EVENTS, name_of


@pytest.mark.parametrize("cls", EVENTS, ids=name_of)
def test_every_field_of_every_event_has_a_line_with_its_meaning(cls):
    lines = [line.strip() for line in event_doc(cls).splitlines()]
    for field in cls.DESCRIPTOR.fields:
        assert any(line.startswith(f"{field.name} (") and ": " in line for line in lines), field.name


def test_policy_units_ranges_and_labels_are_named():
    assert event_doc(events.AnomalyDetected).splitlines() == [
        "A policy update looked sick.",
        "",
        'Event "ppo.anomaly_detected", recorded at level minimal; requires batch_idx in its context.',
        "",
        "Fields; None means not measured:",
        "    anomaly (AnomalyKind): What went wrong.",
        '        "UNSPECIFIED" (0): Not known.',
        '        "ratio_explosion" (1): An importance ratio rose over the threshold.',
        '        "ratio_collapse" (2): An importance ratio fell under the threshold.',
        '        "value_collapse" (3): The value function explains less of the returns than the threshold.',
        '        "numerical_instability" (4): A loss or gradient was NaN or infinite.',
        "    metric (string): The measurement that shows it, a field of PpoUpdateCompleted.",
        "    value (double): Its value.",
        "    threshold (double): The threshold it crossed; unset where being finite is the test.",
    ]
    text = event_doc(events.PpoUpdateCompleted)
    assert "    entropy (double, nat, min 0): Mean entropy of the joint policy.\n" in text
    assert "    heads (list of HeadStats): Statistics of each policy head.\n        head (string): Head" in text
    assert "action_counts (map of string to uint64, {action}): Times" in event_doc(events.ActionDistribution)


def test_an_event_without_comments_is_described_by_its_descriptor_alone():
    assert event_doc(foreign_event("bare")).splitlines() == [
        "The event bare.happened.",
        "",
        'Event "bare.happened", recorded at level normal.',
        "",
        "Fields; None means not measured:",
        "    bare (int32)",
    ]
