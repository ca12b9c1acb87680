"""Frames become batches: of several runs at once, of blocks of steps, and of what cannot be decoded."""

from __future__ import annotations

import pyarrow as pa
import pytest

import esper_telemetry as et
from esper.v1 import trainer_pb2
from esper_telemetry.decode import Filter, survey
from esper_telemetry.decode.faults import Faults
from esper_telemetry.tables import RecordWarning
from esper_telemetry.tables.envelopes import RawFrame, decode_frames
from esper_telemetry.tables.opening import Reading
from esper_telemetry.tables.raw_frames import RawFrames
from esper_telemetry.v1 import steps_pb2
from tests.esper_telemetry.tables.cells import assert_same, expected_rows


def block(**fields) -> steps_pb2.StepBlock:
    columns = [{"field": "op", "labels": ["WAIT", "CULL"], "numbers": [1, 3], "indices": bytes([0, 1, 1, 0])}]
    return steps_pb2.StepBlock(
        **{"row_type": "esper.v1.ActionTaken", "steps": 2, "envs": 2, "columns": columns, **fields}
    )


def eager() -> trainer_pb2.ActionTaken:
    return trainer_pb2.ActionTaken(op="LIFECYCLE_OP_CULL", reward=0.5)


def frames_of(path) -> list[RawFrame]:
    return list(RawFrames(survey(path), Filter(), Faults(strict=True), expand=True, latest=False))


class Everything:
    """Wants all blocks, as events."""

    def shape(self, home, block) -> None:
        pass

    def wants_block(self, home, type_id) -> bool:
        return True


def test_short_runs_with_one_schema_are_one_batch(record_run, tmp_path):
    for number in range(5):
        record_run(name=f"run{number}")
    scan = et.scan(tmp_path / "runs" / "*", "scalar.logged")
    assert [len(set(batch["run"].to_pylist())) for batch in scan] == [5]


def test_the_rows_of_a_block_are_rows_of_their_own_table(write_record):
    path = write_record([(eager(), {"env_id": 1}), (block(), {"batch_idx": 7})], [(block(), {"batch_idx": 8})])
    table = et.table(path, "policy.action_taken")
    assert_same(table, expected_rows(path)["esper.v1.ActionTaken"])
    assert table["op"].to_pylist() == ["CULL"] + ["WAIT", "CULL", "CULL", "WAIT"] * 2
    assert table["batch_idx"].to_pylist() == [None] + [7] * 4 + [8] * 4
    assert len(et.table(path, "policy.action_taken", envs=[1])) == 1 + 2 + 2
    assert len(et.table(path, "steps.block")) == 0
    assert len(et.table(path, "steps.block", expand=False)) == 2


def test_a_block_that_cannot_be_expanded_stays_a_block(write_record):
    path = write_record([(eager(), {}), (block(steps=3), {"batch_idx": 7}), (block(), {"batch_idx": 8})])
    tables = et.tables(path)
    assert len(tables["policy.action_taken"]) == 1 + 4
    assert tables["steps.block"]["steps"].to_pylist() == [3]


def test_a_type_that_nothing_declares_is_its_bytes(write_record, scalars):
    path = write_record(scalars(3))
    reading = Reading(survey(path))
    frames = frames_of(path)
    assert len(decode_frames(frames, pytest.fail, Everything()).events.seq) == 3
    layout = reading.layouts.of("type:9")
    assert layout.schema.field("payload").type == pa.binary()
    assert et.table(path, "type:9").num_rows == 0


@pytest.mark.parametrize("fast", [True, False], ids=["ptars", "protobuf"])
def test_a_frame_that_is_not_as_its_descriptor_states_is_left_out_alone(write_record, scalars, fast):
    good = frames_of(write_record(scalars(3), scalars(4), scalars(5)))
    lying = good[1]._replace(ref=good[1].ref._replace(records=9))
    refused = []
    told = [good[0], lying, good[2]]
    events, _, whole = decode_frames(told, lambda frame, _: refused.append(frame), Everything(), fast=fast)
    assert refused == [lying]
    assert whole == [good[0], good[2]]
    assert events.seq.to_pylist() == [1, 2, 3, 8, 9, 10, 11, 12]
    assert events.frame.to_pylist() == [0] * 3 + [1] * 5


def test_both_ways_give_the_same_envelopes(write_record, scalars):
    frames = frames_of(write_record(scalars(300, env_id=1), scalars(4, device="cuda:0")))
    fast = decode_frames(frames, pytest.fail, Everything()).events
    slow = decode_frames(frames, pytest.fail, Everything(), fast=False).events
    assert [column.to_pylist() for column in fast] == [column.to_pylist() for column in slow]


def test_losses_are_told_as_read_tells_them(write_record, scalars, tmp_path):
    write_record(scalars(3), scalars(3), shed=2, close=False)
    records = et.read(tmp_path / "record.esr.zst")
    assert len(list(records)) == 6
    reading = Reading(survey(tmp_path / "record.esr.zst"))
    assert sum(batch.num_rows for _, batch in reading) == 6
    assert list(reading.warnings) == list(records.warnings)
    assert reading.missing == records.missing
    with pytest.warns(RecordWarning):
        et.table(tmp_path / "record.esr.zst", "scalar.logged")
