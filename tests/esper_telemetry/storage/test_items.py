"""Every kind of item that may be handed over is known to the files that it is handed to."""

from __future__ import annotations

import typing

import pytest

from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.schema_check import SchemaCheck
from esper_telemetry.recordfile import Skip, SkipReason
from esper_telemetry.recordfile.compaction import Compaction, Rewritten
from esper_telemetry.recordfile.verification import verify
from esper_telemetry.storage.engine import (
    Claim,
    CutBack,
    Expire,
    Inspect,
    Item,
    PutFrame,
    PutSchema,
    PutSkip,
    Replace,
    Seal,
    weight,
)
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.producer_files import ProducerFiles
from tests.esper_telemetry.collector.publisher import Produced

PER_FRAME = 10


@pytest.fixture
def produced():
    return Produced(frames=2, per_frame=PER_FRAME)


def nothing_compacted(folder) -> Rewritten:
    path = folder / "main.esr.zst"
    return Rewritten(path, folder / ".main.compacting", (0, 0, 0, 0), Compaction(path))


@pytest.mark.parametrize("kind", typing.get_args(Item), ids=lambda kind: kind.__name__)
def test_an_item_of_each_kind_leaves_good_files_with_what_was_put(tmp_path, produced, kind):
    key = ProducerKey(produced.run_id, produced.producer_id)
    schema = SchemaCheck(CollectorLimits()).check(produced.schema, key)
    items = {
        PutSchema: (schema, 1),
        PutFrame: (PutFrame(produced.raw[1], produced.refs[1].descriptor), 2),
        PutSkip: (PutSkip(Skip(PER_FRAME + 1, 2 * PER_FRAME, SkipReason.SPOOL_LOST)), 2),
        Seal: (Seal(), 1),
        Claim: (Claim(1), 1),
        Inspect: (Inspect(), 1),
        Expire: (Expire(0.0), 1),
        Replace: (Replace(nothing_compacted(tmp_path), lambda _done: None), 1),
        CutBack: (CutBack(PER_FRAME), 1),
    }
    files = ProducerFiles(tmp_path, key)
    files.apply(schema)
    files.apply(PutFrame(produced.raw[0], produced.refs[0].descriptor))
    files.sync()
    item, frames = items[kind]
    files.apply(item)
    files.sync()
    files.release()
    assert files.failed is None
    assert files.numbers.durable_seq == frames * PER_FRAME
    found = [verify(path) for path in sorted(tmp_path.glob("*/*.esr.zst"))]
    assert all(one.good for one in found)


def test_the_weight_of_an_item_is_what_it_takes(produced):
    schema = SchemaCheck(CollectorLimits()).check(produced.schema, ProducerKey(produced.run_id, produced.producer_id))
    assert weight(PutFrame(produced.raw[0], produced.refs[0].descriptor)) == len(produced.raw[0])
    assert weight(schema) == len(schema.descriptors) + schema.header.ByteSize()
    assert weight(Seal()) == weight(Claim(1)) == 0
