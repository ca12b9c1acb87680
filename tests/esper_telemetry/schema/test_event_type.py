"""The policy of an event is what its .proto file says."""

from __future__ import annotations

import dataclasses

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2

from esper.v1 import seed_pb2
from esper_telemetry.errors import SchemaError
from esper_telemetry.schema import event_type
from esper_telemetry.v1 import options_pb2, run_pb2, training_pb2
from tests.esper_telemetry.schema.strategies import EVENTS, name_of


def test_the_policy_of_an_event_stands_in_its_schema():
    culled = event_type(seed_pb2.SeedCulled)
    assert dataclasses.asdict(culled) == {
        "cls": seed_pb2.SeedCulled,
        "full_name": "esper.v1.SeedCulled",
        "name": "seed.culled",
        "level": options_pb2.LEVEL_LIFECYCLE,
        "shedding": options_pb2.SHEDDING_NEVER,
        "requires": frozenset({"env_id", "device", "inner_epoch", "global_epoch"}),
        "urgent": False,
    }


def test_what_is_likely_to_be_the_last_word_is_urgent():
    urgent = {event_type(cls).name for cls in EVENTS if event_type(cls).urgent}
    assert urgent == {"governor.panicked", "governor.rolled_back", "run.finished", "stream.finished"}


def test_an_event_that_says_nothing_is_normal_and_shed_later():
    file = descriptor_pb2.FileDescriptorProto(name="quiet.proto", package="quiet", syntax="proto3")
    file.dependency.append("esper_telemetry/v1/options.proto")
    message = file.message_type.add(name="Event")
    message.options.Extensions[options_pb2.event].SetInParent()
    pool = descriptor_pool.Default()
    pool.Add(file)
    quiet = event_type(message_factory.GetMessageClass(pool.FindMessageTypeByName("quiet.Event")))
    assert (quiet.name, quiet.level, quiet.shedding) == (
        "quiet.Event",
        options_pb2.LEVEL_NORMAL,
        options_pb2.SHEDDING_LATER,
    )
    assert quiet.requires == frozenset()


@pytest.mark.parametrize("cls", EVENTS, ids=name_of)
def test_the_policy_of_every_event_is_said_not_defaulted(cls):
    one = event_type(cls)
    assert "." in one.name
    assert one.name != one.full_name
    assert one.level >= options_pb2.LEVEL_LIFECYCLE


def test_what_is_never_shed_is_exactly_the_lifecycle():
    for one in map(event_type, EVENTS):
        assert (one.shedding == options_pb2.SHEDDING_NEVER) == (one.level == options_pb2.LEVEL_LIFECYCLE), one.name


@pytest.mark.parametrize("wrong", [int, 5, None, "seed.culled", [], {}, training_pb2, training_pb2.ScalarLogged()])
def test_what_is_no_event_class_is_refused_with_what_to_pass(wrong):
    with pytest.raises(SchemaError, match="pass a generated protobuf message class"):
        event_type(wrong)


@pytest.mark.parametrize("cls", [run_pb2.DropCount, struct_pb2.Struct], ids=name_of)
def test_a_message_that_is_not_marked_is_refused_with_the_option_to_add(cls):
    with pytest.raises(SchemaError, match=r"is no event: add `option \(esper_telemetry\.v1\.event\)") as caught:
        event_type(cls)
    assert cls.DESCRIPTOR.file.name in str(caught.value)


def test_a_policy_cannot_be_changed_after_it_was_read():
    with pytest.raises(dataclasses.FrozenInstanceError):
        event_type(seed_pb2.SeedCulled).level = 0
