"""Calls with context: two payloads, the same as two encoders would make, at every call."""

from __future__ import annotations

import numpy as np
import pytest

from esper_telemetry import events
from esper_telemetry.errors import SchemaError
from esper_telemetry.schema import encode_context
from esper_telemetry.schema.encoder import payload_encoders
from esper_telemetry.schema.placed import PlacedEncoders, placed_encoders
from esper_telemetry.v1 import context_pb2

OFTEN = 40
BOUND = {"env_id": 1, "step": 3}


def placed(encoders, fields, bound=BOUND):
    payload, context = encoders.encode(fields, bound, encode_context(bound))
    return events.ScalarSummarized.FromString(payload), context_pb2.Context.FromString(context)


@pytest.mark.parametrize("calls", [1, OFTEN], ids=["first", "later"])
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"step": 9}, {"env_id": 1, "step": 9}),
        ({"step": 2**40, "group": "a"}, {"env_id": 1, "step": 2**40, "group": "a"}),
        ({"step": None}, {"env_id": 1}),
        ({"step": np.int64(9), "rank": 0}, {"env_id": 1, "step": 9, "rank": 0}),
        ({"device": "cuda:0"}, {"env_id": 1, "step": 3, "device": "cuda:0"}),
    ],
)
def test_what_a_call_says_of_its_place_is_added_to_what_is_bound_and_wins(calls, where, expected):
    encoders = PlacedEncoders(events.ScalarSummarized)
    for _ in range(calls):
        event, context = placed(encoders, {"name": "loss", "sum": 0.5, **where})
    assert event == events.ScalarSummarized(name="loss", sum=0.5)
    assert context == context_pb2.Context(**expected)


def test_a_later_call_may_have_any_values():
    encoders = PlacedEncoders(events.ScalarSummarized)
    for _ in range(OFTEN):
        placed(encoders, {"name": "loss", "sum": 0.5, "step": 1})
    for step in (0, 2**28, 2**64 - 1, True, np.uint8(3)):
        event, context = placed(encoders, {"name": "", "sum": 1, "step": step}, {})
        assert event == events.ScalarSummarized(sum=1)
        assert context == context_pb2.Context(step=int(step))
    for wrong in ({"step": -1}, {"step": 2**64}, {"sum": "x"}, {"step": 0.5}, {"nam": 1}):
        with pytest.raises(SchemaError):
            placed(encoders, {"name": "loss", "sum": 0.5, "step": 1, **wrong})


def test_shapes_with_and_without_context_may_alternate():
    encoders = placed_encoders(events.ScalarSummarized)
    for step in range(2 * OFTEN):
        for fields in ({"name": "a", "step": step}, {"sum": 0.5, "rank": step}, {"name": "a", "sum": 1.0}):
            event, context = placed(encoders, fields, {})
            own = {name: value for name, value in fields.items() if name in ("name", "sum")}
            assert event == events.ScalarSummarized(**own)
            assert context == context_pb2.Context(**{n: v for n, v in fields.items() if n not in own})


def test_a_call_without_context_leaves_the_bound_one_as_it_is():
    encoded = encode_context(BOUND)
    _, context = placed_encoders(events.ScalarSummarized).encode({"name": "loss"}, BOUND, encoded)
    assert context is encoded


def test_a_name_that_both_have_is_the_events():
    assert "step" not in placed_encoders(events.ScalarLogged).names
    payload, context = placed_encoders(events.ScalarLogged).encode({"name": "x", "step": 5, "rank": 1}, {}, b"")
    assert events.ScalarLogged.FromString(payload).step == 5
    assert context_pb2.Context.FromString(context) == context_pb2.Context(rank=1)


def test_the_hot_path_is_told_at_once_that_a_call_has_context():
    fields = {"name": "loss", "sum": 0.5, "step": 1}
    for _ in range(OFTEN):
        placed(placed_encoders(events.ScalarSummarized), fields)
    assert payload_encoders(events.ScalarSummarized)[len(fields)](**fields) is None
