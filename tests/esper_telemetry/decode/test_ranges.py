"""Values outside the range of their schema, wherever in an event they stand."""

from __future__ import annotations

import math

import pytest

from esper_telemetry import read
from esper_telemetry.decode import RangeCheck
from esper_telemetry.decode.ranges import describe_range
from esper_telemetry.v1 import options_pb2, training_pb2


def checked(path) -> dict[str, str]:
    """Return the fields that are out of range, each with its sentence."""
    check = RangeCheck()
    for event in read(path):
        check.look(event)
    return {found.name: str(found) for found in check.found.values()}


def emitting(record_run, count=1, **fields):
    def fill(run):
        for batch in range(count):
            run.bind(batch_idx=batch, episodes_completed=0).emit(training_pb2.PpoUpdateCompleted, **fields)

    return record_run(fill)


def test_values_within_their_range_are_nothing_to_tell(record_run):
    assert checked(record_run()) == {}


def test_a_value_outside_is_told_with_field_range_place_and_how_often(record_run):
    found = checked(emitting(record_run, 3, clip_fraction=1.7, entropy=-0.3, kl_divergence=0.1))
    assert found.keys() == {"clip_fraction", "entropy"}
    assert found["clip_fraction"] == (
        "ppo.update_completed clip_fraction = 1.7 is out of its range, 0 to 1: event 2 of rank 0, and 2 more"
    )
    assert "from 0" in found["entropy"]


def test_a_bound_itself_is_within(record_run):
    assert checked(emitting(record_run, clip_fraction=1.0, entropy=0.0)) == {}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_out_of_range_unless_the_schema_allows_it(record_run, value):
    assert checked(emitting(record_run, clip_fraction=value)).keys() == {"clip_fraction"}
    assert checked(emitting(record_run, policy_loss=value)) == {}


def test_fields_of_nested_messages_are_looked_at(record_run):
    found = checked(emitting(record_run, heads=[{"head": "op", "entropy": 1.0}, {"head": "slot", "entropy": -2.0}]))
    assert found.keys() == {"heads.entropy"}
    assert "= -2 " in found["heads.entropy"]


def test_what_a_schema_allows_is_said_in_words():
    assert describe_range(options_pb2.FieldMeta(min=0, max=1)) == "0 to 1"
    assert describe_range(options_pb2.FieldMeta(max=5)) == "up to 5"
    assert describe_range(options_pb2.FieldMeta(min=-1, allow_non_finite=True)) == "from -1 or not finite"
    assert describe_range(options_pb2.FieldMeta(unit="s")) == "finite numbers"
