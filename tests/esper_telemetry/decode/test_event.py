"""One event: parsed late, by the record's own descriptors, with units."""

from __future__ import annotations

import pytest

from esper.v1 import trainer_pb2
from esper_telemetry import read
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.v1 import steps_pb2, training_pb2


def test_the_message_is_of_a_class_made_from_the_record(record_run):
    (event,) = read(record_run(), types="ppo.update_completed")
    assert event.full_name == "esper_telemetry.v1.PpoUpdateCompleted"
    assert type(event.message) is not training_pb2.PpoUpdateCompleted
    assert event.message.lr == 0.0003
    assert event.message.HasField("skipped")
    assert event.payload == event.message.SerializeToString()


def test_units_stand_beside_the_fields_that_are_set(record_run):
    (event,) = read(record_run(), types="ppo.update_completed")
    assert event.units["lr"] == "1"
    assert event.units["heads.entropy"] == "nat"
    assert "update_time_ms" not in event.units, "it was not measured"
    (distribution,) = read(record_run(), types="policy.action_distribution")
    assert distribution.units["action_counts"] == "{action}"
    assert distribution.units["batch_idx"] == "{batch}"


def test_events_of_a_type_share_their_class(record_run):
    first, second = read(record_run(), types="scalar.logged")
    assert type(first.message) is type(second.message)


def test_a_type_the_record_does_not_declare_is_kept_as_bytes(write_record, scalars, monkeypatch):
    path = write_record(scalars(3, env_id=2), close=False)
    reader = read(path)
    events = list(reader)
    kind = events[0]._kind
    for name in ("cls", "plain"):  # as in a record whose writer forgot the descriptors
        monkeypatch.setattr(kind, name, None)
    events = list(reader)
    assert [event.data for event in events] == [{"payload": event.payload, "env_id": 2} for event in events]
    assert reader.unknown == {kind.name: 3}
    with pytest.raises(CorruptRecordError, match="no descriptors"):
        _ = events[0].message


def block(**changes) -> steps_pb2.StepBlock:
    fields = {
        "row_type": "esper.v1.ActionTaken",
        "steps": 2,
        "envs": 2,
        "context": [{"field": "inner_epoch", "values": [1, 2]}],
        "columns": [
            {"field": "op", "indices": bytes([0, 1, 0, 9]), "labels": ["wait", "cull"], "numbers": [1, 3]},
            {"field": "op_masked", "flags": bytes([0b0110])},
        ],
        "first_time_unix_nano": 1_700_000_000_000_000_000,
        "time_offsets_us": [0, 250],
    }
    return steps_pb2.StepBlock(**{**fields, **changes})


@pytest.fixture
def block_run(record_run):
    def record(**changes):
        return record_run(lambda run: run.bind(batch_idx=7, device="cpu").emit(block(**changes)))

    return record


def test_a_block_of_steps_reads_as_its_rows(block_run):
    rows = list(read(block_run(), types="policy.action_taken"))
    assert [row.data for row in rows] == [
        {"op": "WAIT", "op_masked": False, "env_id": 0, "device": "cpu", "batch_idx": 7, "inner_epoch": 1},
        {"op": "CULL", "op_masked": True, "env_id": 1, "device": "cpu", "batch_idx": 7, "inner_epoch": 1},
        {"op": "WAIT", "op_masked": True, "env_id": 0, "device": "cpu", "batch_idx": 7, "inner_epoch": 2},
        {"op_masked": False, "env_id": 1, "device": "cpu", "batch_idx": 7, "inner_epoch": 2},
    ]
    assert [row.time_unix_nano - rows[0].time_unix_nano for row in rows] == [0, 0, 250_000, 250_000]
    assert {row.seq for row in rows} == {2}


def test_a_row_is_a_message_of_its_type_with_its_context(block_run):
    row = list(read(block_run(), types="policy.action_taken"))[1]
    assert row.full_name == "esper.v1.ActionTaken"
    again = trainer_pb2.ActionTaken.FromString(row.payload)
    assert (again.op, again.op_masked, again.HasField("op_forced")) == (trainer_pb2.LIFECYCLE_OP_CULL, True, False)
    assert row.context.inner_epoch == 1
    assert row.context.env_id == 1


def test_rows_are_chosen_by_environment(block_run):
    assert [row.data["inner_epoch"] for row in read(block_run(), envs=[1])] == [1, 2]


def test_a_block_can_be_had_as_it_travelled(block_run):
    (event,) = read(block_run(), types="steps.block", expand=False)
    assert event.data["row_type"] == "esper.v1.ActionTaken"


def test_a_block_that_contradicts_itself_stays_a_block_and_is_counted(block_run):
    records = read(block_run(steps=3))
    assert "steps.block" in [event.type for event in records]
    assert records.unknown == {"steps.block": 1}
