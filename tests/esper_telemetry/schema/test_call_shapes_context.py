"""Calls that state where they happened: the fields of Context go into the context, at every call."""

from __future__ import annotations

import numpy as np
import pytest

from esper_telemetry import events
from esper_telemetry.errors import SchemaError
from esper_telemetry.schema.call_shapes import CONTEXT_SHAPES, CallShapes, call_shapes
from esper_telemetry.schema.context import build_context
from esper_telemetry.schema.row_shape import packed
from esper_telemetry.v1 import context_pb2

OFTEN = 40
BOUND = {"env_id": 1, "step": 3}


def placed(shapes, fields, bound=BOUND):
    """Return the event and the context of a call, whichever way it is kept."""
    row = shapes.take(None, (), fields, bound)
    event = events.ScalarSummarized.FromString(row.shape.payload(row.values))
    if row.where is not None:
        return event, build_context({**bound, **row.where})
    context = build_context({name: value for name, value in bound.items() if name not in row.shape.unset})
    if row.shape.context:
        context.MergeFromString(packed(row.shape.context, row.values))
    return event, context


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
    shapes = CallShapes(events.ScalarSummarized)
    for _ in range(calls):
        event, context = placed(shapes, {"name": "loss", "sum": 0.5, **where})
    assert event == events.ScalarSummarized(name="loss", sum=0.5)
    assert context == context_pb2.Context(**expected)


def test_a_later_call_may_have_any_values():
    shapes = CallShapes(events.ScalarSummarized)
    for _ in range(OFTEN):
        placed(shapes, {"name": "loss", "sum": 0.5, "step": 1})
    for step in (0, 2**28, 2**64 - 1, True, np.uint8(3)):
        event, context = placed(shapes, {"name": "", "sum": 1, "step": step}, {})
        assert event == events.ScalarSummarized(sum=1)
        assert context == context_pb2.Context(step=int(step))
    for wrong in ({"step": -1}, {"step": 2**64}, {"sum": "x"}, {"step": 0.5}, {"nam": 1}):
        with pytest.raises(SchemaError):
            placed(shapes, {"name": "loss", "sum": 0.5, "step": 1, **wrong})


def test_shapes_with_and_without_context_may_alternate():
    shapes = CallShapes(events.ScalarSummarized)
    for step in range(2 * OFTEN):
        for fields in ({"name": "a", "step": step}, {"sum": 0.5, "rank": step}, {"name": "a", "sum": 1.0}):
            event, context = placed(shapes, fields, {})
            own = {name: value for name, value in fields.items() if name in ("name", "sum")}
            assert event == events.ScalarSummarized(**own)
            assert context == context_pb2.Context(**{n: v for n, v in fields.items() if n not in own})


def test_a_name_that_both_have_is_the_events():
    shapes = call_shapes(events.ScalarLogged)
    assert "step" not in shapes.context_names
    row = shapes.row({"name": "x", "step": 5, "rank": 1})
    assert events.ScalarLogged.FromString(row.shape.payload(row.values)).step == 5
    assert row.where == {"rank": 1}


def test_a_context_has_rows_however_long_its_texts_are():
    row = CONTEXT_SHAPES.row({"group": "x" * 1_000_000})
    assert row.values == {"group": "x" * 1_000_000}
    assert row.extra == 1_000_000
