"""The quick way from message to dict gives exactly what `schema.to_plain` gives."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esper.v1 import seed_pb2, trainer_pb2
from esper_telemetry.decode.plain_plans import PlainPlans
from esper_telemetry.schema import event_classes, to_plain
from esper_telemetry.v1 import record_pb2, run_pb2, steps_pb2, training_pb2

MODULES = (run_pb2, training_pb2, steps_pb2, seed_pb2, trainer_pb2)
CLASSES = [cls for module in MODULES for cls in event_classes(module)]
PLANS = PlainPlans()


def plain(message):
    return PLANS.plan(message.DESCRIPTOR)(message)


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(CLASSES), st.binary(max_size=200))
def test_any_message_reads_the_same_both_ways(cls, noise):
    message = cls()
    try:
        message.ParseFromString(noise)
    except Exception:  # noqa: BLE001 - noise that is no message is no test
        return
    assert repr(plain(message)) == repr(to_plain(message))


@pytest.mark.parametrize(
    "message",
    [
        training_pb2.ActionDistribution(action_counts={"b": 1, "a": 0}, head="op"),
        training_pb2.PpoUpdateCompleted(lr=0.0, heads=[{"head": "op"}, {}]),
        run_pb2.RunStarted(name="x", tags={"a": "b"}, versions=[{"name": "torch"}], host={"hostname": "h"}),
        seed_pb2.SeedStageChanged(from_stage=99, to_stage="SEED_STAGE_CULLED"),
        record_pb2.Index(type_counts={3: 4, 1: 2}, frames=[{"type_counts": {7: 1}}]),
        descriptor_pb2.DescriptorProto(name="m", nested_type=[{"name": "n", "nested_type": [{"name": "o"}]}]),
    ],
    ids=lambda message: message.DESCRIPTOR.name,
)
def test_maps_lists_enums_and_messages_inside_themselves_read_the_same(message):
    assert plain(message) == to_plain(message)
    assert list(plain(message)) == list(to_plain(message))
