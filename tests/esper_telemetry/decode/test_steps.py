"""A block of steps expands into the rows it stands for, and a block that contradicts itself is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esper.v1 import trainer_pb2
from esper_telemetry.decode.steps import BlockRow, expand, rows
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.schema import SchemaPool, file_closure, to_plain
from esper_telemetry.v1 import run_pb2, steps_pb2, training_pb2

OPS = {"labels": ["WAIT", "GERMINATE", "CULL", "FOSSILIZE"], "numbers": [1, 2, 3, 4]}


def block_of(**fields):
    defaults = {
        "row_type": "esper.v1.ActionTaken",
        "steps": 2,
        "envs": 2,
        "columns": [{"field": "op", **OPS, "indices": bytes([0, 1, 2, 3])}],
    }
    return steps_pb2.StepBlock(**{**defaults, **fields})


def expanded(block, row_class=trainer_pb2.ActionTaken, **context):
    return list(expand(block, row_class, context=context, time_unix_nano=77, seq=5))


def test_rows_list_all_environments_of_a_step_before_the_next_step():
    block = block_of(context=[{"field": "inner_epoch", "values": [8, 9]}])
    assert rows(block) == 4
    assert expanded(block, batch_idx=3) == [
        BlockRow("esper.v1.ActionTaken", 77, 5, {"env_id": env, "batch_idx": 3, "inner_epoch": epoch}, {"op": op})
        for (epoch, env), op in zip([(8, 0), (8, 1), (9, 0), (9, 1)], OPS["labels"], strict=True)
    ]


def test_context_comes_from_the_event_the_device_the_environments_and_the_steps():
    block = block_of(
        device="cuda:1",
        env_ids=[6, 4],
        env_context=[{"field": "episode", "values": [60, 40]}],
        context=[{"field": "step", "values": [100, 101]}],
    )
    contexts = [row.context for row in expanded(block, batch_idx=1, device="cpu", env_id=99, episodes_completed=12)]
    assert contexts[1] == {"env_id": 4, "device": "cuda:1", "episode": 40, "batch_idx": 1, "step": 100}
    assert list(contexts[0]) == ["env_id", "device", "episode", "batch_idx", "step"], "in the order of their numbers"
    assert [one["step"] for one in contexts] == [100, 100, 101, 101]


def test_each_step_has_its_own_time_when_the_block_has_times():
    block = block_of(first_time_unix_nano=10**18, time_offsets_us=[0, -3])
    assert [row.time_unix_nano for row in expanded(block)] == [10**18, 10**18, 10**18 - 3000, 10**18 - 3000]


def test_every_kind_of_column_is_read():
    block = block_of(
        columns=[
            {"field": "reward", "doubles": struct.pack("<4d", 0.1, -2.0, float("inf"), 1e300)},
            {"field": "op_masked", "flags": bytes([0b1010])},
            {"field": "slot_id", "labels": ["early", "late"], "indices": bytes([1, 0, 1, 0])},
        ]
    )
    assert [row.payload for row in expanded(block)] == [
        {"slot_id": "late", "op_masked": False, "reward": 0.1},
        {"slot_id": "early", "op_masked": True, "reward": -2.0},
        {"slot_id": "late", "op_masked": False, "reward": float("inf")},
        {"slot_id": "early", "op_masked": True, "reward": 1e300},
    ]
    single = block_of(columns=[{"field": "reward", "floats": struct.pack("<4f", 0.1, 0, 0, 0)}])
    assert expanded(single)[0].payload == {"reward": struct.unpack("<f", struct.pack("<f", 0.1))[0]}


def test_an_index_without_an_option_leaves_its_field_unset():
    narrow = block_of(columns=[{"field": "op", **OPS, "indices": bytes([0, 4, 127, 255])}])
    wide = block_of(columns=[{"field": "op", **OPS, "indices": struct.pack("<4H", 3, 4, 32767, 65535)}])
    assert [row.payload for row in expanded(narrow)] == [{"op": "WAIT"}, {}, {}, {}]
    assert [row.payload for row in expanded(wide)] == [{"op": "FOSSILIZE"}, {}, {}, {}]


def test_a_record_without_the_row_class_still_gives_rows_by_the_labels_of_the_block():
    columns = [{"field": "op", **OPS, "indices": bytes([0, 1, 9, 3])}, {"field": "x", "flags": b"\x01"}]
    found = [row.payload for row in expanded(block_of(columns=columns), row_class=None)]
    assert found == [
        {"op": "WAIT", "x": True},
        {"op": "GERMINATE", "x": False},
        {"x": False},
        {"op": "FOSSILIZE", "x": False},
    ]


def test_a_field_without_presence_is_unset_where_it_is_zero():
    # ScalarLogged.name and .unit, and MetricGoal-like enums, have no presence: empty and unset are one.
    block = block_of(
        row_type="esper_telemetry.v1.ScalarLogged",
        columns=[
            {"field": "unit", "labels": ["", "ms"], "indices": bytes([0, 1, 0, 1])},
            {"field": "value", "doubles": struct.pack("<4d", 0.0, 1.0, 2.0, 3.0)},
        ],
    )
    messages = [
        training_pb2.ScalarLogged(unit=unit, value=value)
        for unit, value in zip(["", "ms", "", "ms"], [0.0, 1.0, 2.0, 3.0], strict=True)
    ]
    assert [row.payload for row in expanded(block, training_pb2.ScalarLogged)] == [to_plain(one) for one in messages]


def test_a_reader_needs_only_the_descriptors_of_the_record():
    pool = SchemaPool()
    pool.add(file_closure([steps_pb2.StepBlock, trainer_pb2.ActionTaken]).SerializeToString())
    block = pool.message_class("esper_telemetry.v1.StepBlock").FromString(block_of().SerializeToString())
    row_class = pool.message_class(block.row_type)
    assert [row.payload["op"] for row in expanded(block, row_class)] == OPS["labels"]


def test_a_block_of_no_rows_expands_to_nothing():
    assert expanded(block_of(steps=0, envs=0, columns=[], rows_shed=9)) == []
    assert expanded(block_of(steps=0, columns=[{"field": "op", **OPS}])) == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"columns": []}, "has no column"),
        ({"steps": 2**32 - 1, "envs": 2**32 - 1, "columns": []}, "has no column"),
        ({"columns": [{"field": "op", **OPS, "indices": b"\x00"}]}, "column 'op' has 1 values; 4 were expected"),
        (
            {"columns": [{"field": "op_masked", "flags": b"\x00\x00"}]},
            "column 'op_masked' has 2 values; 1 were expected",
        ),
        ({"columns": [{"field": "reward", "floats": b"\x00" * 15}]}, "column 'reward' has 15 values; 16 were expected"),
        (
            {"columns": [{"field": "reward", "doubles": b"\x00" * 31}]},
            "column 'reward' has 31 values; 32 were expected",
        ),
        ({"columns": [{"field": "op"}]}, "column 'op' holds nothing"),
        ({"columns": [{"field": "op", "indices": b"\0" * 4, "flags": b"\0"}]}, r"holds \['flags', 'indices'\]"),
        ({"columns": [{"field": "gone", "flags": b"\0"}]}, "has no field 'gone' that takes flags"),
        ({"columns": [{"field": "op", "flags": b"\0"}]}, "has no field 'op' that takes flags"),
        ({"columns": [{"field": "op_masked", "indices": b"\0" * 4}]}, "has no field 'op_masked' that takes indices"),
        ({"env_ids": [1, 2, 3]}, "env_ids has 3 values; 2 were expected"),
        ({"context": [{"field": "inner_epoch", "values": [1]}]}, "inner_epoch has 1 values; 2 were expected"),
        ({"env_context": [{"field": "episode", "values": [1]}]}, "episode has 1 values; 2 were expected"),
        ({"context": [{"field": "epoch", "values": [1, 2]}]}, "'epoch' is no field of the context"),
        ({"first_time_unix_nano": 1, "time_offsets_us": [1]}, "time_offsets_us has 1 values; 2 were expected"),
    ],
)
def test_a_block_that_contradicts_itself_is_refused_before_its_first_row(fields, says):
    with pytest.raises(CorruptRecordError, match=says) as refused:
        expand(block_of(**fields), trainer_pb2.ActionTaken, context={}, time_unix_nano=1, seq=5)
    assert "step block 5" in str(refused.value)


def test_a_repeated_field_is_no_column():
    block = block_of(row_type="x", columns=[{"field": "edges", "doubles": b"\0" * 32}])
    with pytest.raises(CorruptRecordError, match="no field 'edges'"):
        expanded(block, training_pb2.HistogramSummarized)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_that_parse_as_a_block_expand_or_are_refused(data):
    try:
        block = steps_pb2.StepBlock.FromString(data)
    except Exception:  # noqa: BLE001 - no block: nothing to expand
        return
    try:
        count = sum(1 for _ in expand(block, run_pb2.RunFinished, context={}, time_unix_nano=1, seq=1))
    except CorruptRecordError:
        return
    assert count == rows(block)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_rows_come_back_as_they_were_packed(data):
    steps, envs = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    count = steps * envs
    flags = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    choices = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    reals = data.draw(st.lists(st.floats(width=32, allow_nan=False), min_size=count, max_size=count))
    bits = sum(flag << i for i, flag in enumerate(flags)).to_bytes(-(-count // 8), "little")
    block = block_of(
        steps=steps,
        envs=envs,
        columns=[
            {"field": "reward", "floats": struct.pack(f"<{count}f", *reals)},
            {"field": "action_success", "flags": bits},
            {"field": "op", **OPS, "indices": bytes(choices)},
        ],
    )
    messages = [
        trainer_pb2.ActionTaken(op=choice + 1, action_success=flag, reward=real)
        for choice, flag, real in zip(choices, flags, reals, strict=True)
    ]
    assert [row.payload for row in expanded(block)] == [to_plain(message) for message in messages]
