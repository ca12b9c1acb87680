"""Types that only rows of blocks have: declared with the block, kept by a compact file, found by a reader."""

from __future__ import annotations

import pytest

import esper_telemetry as et
from esper.v1 import trainer_pb2
from esper_telemetry import decode
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.row_types import row_types
from esper_telemetry.schema import frame_event
from esper_telemetry.v1 import steps_pb2

TYPES = {1: "esper_telemetry.v1.StepBlock", 2: "esper.v1.ActionTaken", 3: "esper.v1.SeedCulled"}


def block(row_type: str) -> bytes:
    return steps_pb2.StepBlock(row_type=row_type, steps=2, envs=3).SerializeToString()


def test_the_type_of_the_rows_is_found_by_its_name():
    other = block("esper.v1.SeedCulled")  # an event of another type, whose bytes read as a block's
    raw = frame_event(1, 1, 1, b"", block("esper.v1.ActionTaken")) + frame_event(3, 1, 2, b"", other)
    assert row_types(raw, [1, 3], TYPES) == {2}
    assert row_types(raw, [3], TYPES) == set(), "without blocks nothing is looked at"
    assert row_types(frame_event(1, 1, 1, b"", block("a.Stranger")), [1], TYPES) == set()
    assert row_types(frame_event(1, 1, 1, b"", b"\xff"), [1], TYPES) == set()


@pytest.mark.parametrize("compact", [True, False], ids=["compact", "as_written"])
def test_a_record_declares_the_type_of_its_rows(tmp_path, compact):
    options = et.RecordOptions(compact=compact)
    with et.start_run(tmp_path, name="rows", schemas=[trainer_pb2], level="debug", record=options) as run:
        for batch in range(20):
            run.emit(et.events.ScalarLogged, name="a", value=1.0)
            column = {"field": "op_masked", "flags": b"\x2a"}
            block = steps_pb2.StepBlock(row_type="esper.v1.ActionTaken", steps=2, envs=3, columns=[column])
            run.bind(batch_idx=batch, device="cpu").emit(block)
            run.flush()
    (path,) = run.folder.glob("*.esr.zst")
    with RecordReader(path) as reader:
        names = set(reader.types.values())
    assert {"esper_telemetry.v1.StepBlock", "esper.v1.ActionTaken"} <= names
    assert "esper_telemetry.v1.RunResumed" not in names
    assert sum(event.type == "policy.action_taken" for event in decode.read(path, expand=True)) == 20 * 6
