"""The built-in events under one name."""

from esper_telemetry import events
from esper_telemetry.recorder.start import event_types


def test_every_built_in_event_type_is_offered_under_one_name():
    assert sorted(one.cls.DESCRIPTOR.name for one in event_types([])) == sorted(events.__all__)
