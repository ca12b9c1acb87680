"""Events of a record by column are those of the same record event by event, whatever is asked of them."""

from __future__ import annotations

import math

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as F

import esper_telemetry as et
from esper.v1 import trainer_pb2
from esper_telemetry.decode import BlockEvent
from esper_telemetry.schema.event_block import Field, encode_block, encode_column
from esper_telemetry.v1 import steps_pb2
from tests.esper_telemetry.commands.conftest import run_cli
from tests.esper_telemetry.conftest import START
from tests.esper_telemetry.recordfile.by_column import replace_frames, rewrite_by_column, variety


@pytest.fixture
def both(write_record, tmp_path):
    """A record event by event, and the same by column."""
    (tmp_path / "single").mkdir()
    (tmp_path / "column").mkdir()
    single = write_record(variety(1, 30), variety(31, 2), variety(33, 40), path=tmp_path / "single" / "record.esr.zst")
    return single, rewrite_by_column(single, tmp_path / "column" / "record.esr.zst")


def seen(events) -> list[str]:
    return [
        repr((
            one.seq, one.time_unix_nano, one.type, one.position, list(one.data.items()), one.units, one.run_id,
            one.context.SerializeToString(), one.message.SerializeToString(), one.payload,
        ))
        for one in events
    ]  # fmt: skip


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"types": ["scalar.*", "policy.action_taken"]},
        {"envs": [1, 44]},
        {"first_seq": 100, "last_seq": 203},
        {"since": START + 33_000_000, "until": START + 180_000_000},
        {"batches": (7, 7)},
        {"batches": (8, None)},
        {"steps": (2**63 + 5, 2**63 + 40), "types": "scalar.logged"},
        {"ranks": [1]},
        {"expand": False, "envs": [2], "batches": (None, 9)},
    ],
    ids=str,
)
def test_every_choice_gives_the_same_events(both, choice):
    single, by_column = (list(et.read(path, **choice)) for path in both)
    assert seen(single) == seen(by_column)
    if not choice:
        kinds = [isinstance(one, BlockEvent) for one in by_column]
        assert kinds.count(True) > 200
        assert sum(one.size for one in by_column) < sum(one.size for one in single)


def test_a_zero_of_a_field_without_presence_is_unset(write_record, scalars, tmp_path):
    single = write_record(scalars(3, env_id=1))
    raw = encode_block(
        2,
        [1, 2, 3],
        [START] * 3,
        [encode_column(Field(1, F.TYPE_UINT32), [1, 0, 2])],
        [
            encode_column(Field(1, F.TYPE_STRING), ["a", "", "b"]),
            encode_column(Field(2, F.TYPE_DOUBLE), [0.0, -0.0, 1.5]),
        ],
    )
    path = replace_frames(single, tmp_path / "zeros.esr.zst", [raw])
    assert repr([event.data for event in et.read(path)]) == repr([
        {"name": "a", "value": 0.0, "env_id": 1},
        {"value": -0.0, "env_id": 0},
        {"name": "b", "value": 1.5, "env_id": 2},
    ])  # fmt: skip
    assert [event.message.name for event in et.read(path)] == ["a", "", "b"]
    assert [event.seq for event in et.read(path, envs=[0, 2])] == [2, 3]


def test_what_the_declared_type_does_not_explain_is_read_as_messages_are(write_record, scalars, tmp_path):
    raw = encode_block(2, [1, 2, 3], [START] * 3, [], [
        encode_column(Field(1, F.TYPE_STRING), ["a", "b", "c"]),
        encode_column(Field(2, F.TYPE_DOUBLE), [0.25, 0.5, 1.0]),
        encode_column(Field(99, F.TYPE_UINT32), [7, 8, 9]),
    ])  # fmt: skip
    path = replace_frames(write_record(scalars(3)), tmp_path / "newer.esr.zst", [raw])
    events = list(et.read(path))
    assert [event.data for event in events] == [
        {"name": "a", "value": 0.25}, {"name": "b", "value": 0.5}, {"name": "c", "value": 1.0},
    ]  # fmt: skip
    assert not any(isinstance(event, BlockEvent) for event in events)


def test_events_of_a_type_that_nothing_declares_are_their_bytes(write_record, scalars, tmp_path):
    truths = encode_column(Field(1, F.TYPE_BOOL), [True, False, True])
    raw = encode_block(9, [1, 2, 3], [START] * 3, [], [truths])
    path = replace_frames(write_record(scalars(3)), tmp_path / "undeclared.esr.zst", [raw])
    records = et.read(path)
    assert [event.data["payload"] for event in records] == [b"\x08\x01", b"\x08\0", b"\x08\x01"]
    assert records.unknown == {"type:9": 3}


def test_blocks_of_steps_are_expanded_wherever_they_came_in(write_record, tmp_path):
    columns = [{"field": "op", "labels": ["WAIT", "CULL"], "numbers": [1, 3], "indices": bytes([0, 1, 1, 0])}]
    block = steps_pb2.StepBlock(row_type="esper.v1.ActionTaken", steps=2, envs=2, columns=columns)
    action = trainer_pb2.ActionTaken(op="LIFECYCLE_OP_CULL", reward=math.pi)
    single = write_record([(block, {"batch_idx": at}) if at % 2 else (action, {"env_id": at}) for at in range(12)])
    by_column = rewrite_by_column(single, tmp_path / "by-column.esr.zst")
    assert seen(et.read(single)) == seen(et.read(by_column))
    assert seen(et.read(single, expand=False)) == seen(et.read(by_column, expand=False))


@pytest.mark.parametrize(
    "verb",
    [["cat", "--format", "json"], ["cat"], ["tail", "-n", "20", "--format", "json"], ["schema", "--json"]],
    ids=str,
)
def test_the_verbs_print_the_same(both, verb):
    printed = []
    for path in both:
        done = run_cli(verb[0], path, *verb[1:])
        assert done.code == 0
        printed.append(done.out)
    assert printed[0] == printed[1]


def test_statistics_and_comparison_find_no_difference_but_the_bytes(both):
    counted = [et.decode.count_events(et.read(path)) for path in both]
    assert set(counted[0]) == set(counted[1]) != set()
    for key, one in counted[0].items():
        other = counted[1][key]
        assert (one.events, one.first_time, one.last_time, list(one.fields)) == (
            other.events, other.first_time, other.last_time, list(other.fields),
        )  # fmt: skip
        for name, statistics in one.fields.items():
            again = other.fields[name]
            assert (statistics.values, statistics.total, statistics.texts) == (again.values, again.total, again.texts)
    by_envelope = et.decode.count_envelopes(et.read(both[1]))
    assert {key: (one.events, one.bytes) for key, one in by_envelope.items()} == {
        key: (one.events, one.bytes) for key, one in counted[1].items()
    }
