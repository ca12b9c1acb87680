"""The built-in events under one name."""

import importlib
import pydoc

import pytest

from esper_telemetry import events
from esper_telemetry.recorder.start import event_types


def test_every_built_in_event_type_is_offered_under_one_name():
    assert sorted(one.cls.DESCRIPTOR.name for one in event_types([])) == sorted(events.__all__)


@pytest.mark.parametrize("name", events.__all__)
def test_help_shows_what_an_event_is_and_what_it_holds(name):
    cls = getattr(events, name)
    text = pydoc.plain(pydoc.render_doc(cls))
    assert cls.__doc__.splitlines()[0] in text
    for field in cls.DESCRIPTOR.fields_by_name:
        assert f"{field} (" in text


def test_a_name_is_the_class_of_the_schema_every_time():
    training = importlib.import_module("esper_telemetry.v1.training_pb2")
    assert events.Throughput is events.Throughput is training.Throughput
    assert events.Throughput(fps=1.0).fps == 1.0


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(AttributeError, match="has no event 'EpochComplete'; its events are ActionDistribution"):
        _ = events.EpochComplete
    assert dir(events) == sorted(events.__all__)
