"""The columns of a block of steps are the rows that `decode.steps` expands, and a block that lies is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper.v1 import trainer_pb2
from esper_telemetry.decode import steps
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.tables.stepcolumns import step_columns
from esper_telemetry.v1 import context_pb2, steps_pb2
from tests.esper_telemetry.schema.strategies import THOROUGH
from tests.esper_telemetry.tables.cells import cell, comparable

ROW = trainer_pb2.ActionTaken
OPS = {"labels": ["WAIT", "GERMINATE", "CULL", "FOSSILIZE"], "numbers": [1, 2, 3, 4]}


def by_column(block, bound=None):
    """Return time, context and payload of each row, from the columns."""
    found = step_columns(
        block, ROW.DESCRIPTOR, context_pb2.Context.DESCRIPTOR, bound=bound or {}, time_unix_nano=77, seq=5
    )
    rows = [{"time": time} for time in found.time.to_pylist()]
    for name, column in {**found.context, **found.payload}.items():
        for row, value in zip(rows, column.to_pylist(), strict=True):
            row[name] = comparable(value)
    assert found.rows == len(rows)
    return rows


def by_row(block, bound=None):
    """Return the same, from the rows."""
    fields = ROW.DESCRIPTOR.fields_by_name
    names = [column.field for column in block.columns]
    rows = steps.expand(block, ROW, context=bound or {}, time_unix_nano=77, seq=5)
    return [
        {"time": row.time_unix_nano}
        | {name: comparable(value) for name, value in row.context.items()}
        | {name: comparable(cell(row.payload.get(name), fields[name])) for name in names}
        for row in rows
    ]


@st.composite
def blocks(draw):
    count_steps, envs = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    rows = count_steps * envs
    doubles = draw(st.lists(st.floats(), min_size=rows, max_size=rows))
    bits = st.binary(min_size=-(-rows // 8), max_size=-(-rows // 8))
    columns = [
        {"field": "op", **OPS, "indices": draw(st.binary(min_size=rows, max_size=rows))},
        {"field": "reward", "doubles": struct.pack(f"<{rows}d", *doubles)},
        {"field": "op_masked", "flags": draw(bits)},
        {"field": "slot_id", "labels": ["early", ""], "indices": struct.pack(f"<{rows}H", *([0, 1, 2] * rows)[:rows])},
    ]
    block = steps_pb2.StepBlock(row_type="esper.v1.ActionTaken", steps=count_steps, envs=envs, columns=columns)
    block.context.add(field="inner_epoch", values=range(count_steps))
    block.env_context.add(field="episode", values=range(10, 10 + envs))
    if draw(st.booleans()):
        block.valid = draw(bits)
    if draw(st.booleans()):
        block.first_time_unix_nano = 10**18
        block.time_offsets_us.extend(range(-1, count_steps - 1))
    if draw(st.booleans()):
        block.device = "cuda:1"
        block.env_ids.extend(range(envs, 2 * envs))
    return block


@THOROUGH
@given(blocks())
def test_columns_are_the_rows(block):
    bound = {"batch_idx": 3, "device": "cpu", "episodes_completed": 9, "env_id": 99}
    assert by_column(block, bound) == by_row(block, bound)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"columns": []}, "has no column"),
        ({"columns": [{"field": "op", **OPS, "indices": b"\0"}]}, "4 were expected"),
        ({"columns": [{"field": "op", "flags": b"\0"}]}, "no field 'op' that takes flags"),
        ({"columns": [{"field": "nothing", "flags": b"\0"}]}, "has no field 'nothing'"),
        ({"columns": [{"field": "op_masked", "flags": b"\0\0"}]}, "2 values; 1 were expected"),
        ({"context": [{"field": "nothing", "values": [1, 2]}]}, "no field of the context"),
        ({"context": [{"field": "step", "values": [1]}]}, "1 values; 2 were expected"),
        ({"context": [{"field": "step", "values": [1, -1]}]}, "does not fit its type"),
        ({"first_time_unix_nano": 5, "time_offsets_us": [0, -1]}, "before 1970"),
        ({"valid": b"\0\0"}, "valid has 2 values"),
    ],
    ids=["columns", "short", "kind", "field", "long", "context", "values", "negative", "times", "valid"],
)
def test_a_block_that_contradicts_itself_is_refused(change, reason):
    good = {
        "row_type": "esper.v1.ActionTaken",
        "steps": 2,
        "envs": 2,
        "columns": [{"field": "op", **OPS, "indices": bytes(4)}],
    }
    assert len(by_column(steps_pb2.StepBlock(**good))) == 4
    with pytest.raises(CorruptRecordError, match=reason):
        by_column(steps_pb2.StepBlock(**(good | change)))
