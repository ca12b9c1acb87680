"""What the events of a segment share."""

from __future__ import annotations

from collections import Counter

from esper_telemetry.decode.types import Origin
from esper_telemetry.recordfile import RecordReader


def test_an_origin_knows_run_stream_rank_and_types(write_record, scalars):
    with RecordReader(write_record(scalars(2), rank=3, stream="eval")) as reader:
        origin = Origin(reader.segments[0], reader.path, Counter())
    assert (origin.run_id, origin.stream, origin.rank) == ("20261122T223328Z-test-1f3a9c", "eval", 3)
    assert origin.type_ids == {2}, "what it has events of"
    assert origin.kinds[2].name == "scalar.logged"
    assert origin.block_ids == frozenset()


def test_what_cannot_be_decoded_is_counted_by_type(write_record, scalars):
    unknown: Counter[str] = Counter()
    with RecordReader(write_record(scalars(2))) as reader:
        origin = Origin(reader.segments[0], reader.path, unknown)
    origin.undecodable(origin.kinds[99])
    assert unknown == {"type:99": 1}
