"""A block that contradicts itself costs its frame with every reader: checksums do not tell what a writer meant."""

from __future__ import annotations

import pytest

import esper_telemetry as et
from esper_telemetry.decode import Filter, Tail
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import HeaderInfo, RecordReader, RecordWriter, StreamFollower, recover, verify
from esper_telemetry.recordfile.compaction import compact_file
from esper_telemetry.recordfile.writer import RecordBuilder
from esper_telemetry.tables import RecordWarning
from tests.esper_telemetry.collector.publisher import RUN_ID, TYPES, make_batch
from tests.esper_telemetry.recordfile.by_column import copy_headers
from tests.esper_telemetry.recordfile.forged_blocks import LYING, START, WRONG, block, frame

# What a reader can tell without looking at each event; the rest is for verify, recover and the collector.
COUNTS = (
    "fewer events than stated",
    "more events than stated",
    "numbers below those stated",
    "numbers above those stated",
)
FORGED = {
    **{name: (change, {}) for name, change in WRONG.items() if name != "type id 0"},
    **{name: ({}, LYING[name]) for name in COUNTS},
}


@pytest.fixture(scope="module")
def segment(tmp_path_factory):
    """A segment whose headers declare scalars with the id 1."""
    path = tmp_path_factory.mktemp("declared") / "record.esr.zst"
    writer = RecordWriter(path, HeaderInfo(run_id=RUN_ID, producer_id=bytes(16), anchor_unix_nano=START), TYPES)
    writer.write(make_batch(1, 3))
    writer.close()
    with RecordReader(path) as reader:
        return reader.segments[0]


@pytest.fixture(params=FORGED.values(), ids=FORGED)
def forged(request, segment, tmp_path):
    """A closed file with a forged frame, and three scalars behind it with the numbers 5 to 7."""
    change, stated = request.param
    path = tmp_path / "record.esr.zst"
    with RecordBuilder(path) as builder:
        builder.start_segment(previous_last_seq=0)
        copy_headers(segment, builder)
        data, desc = frame(block(**change), **stated)
        builder.add_frame(data, desc, {1: desc.records})
        good = block(first_seq=5, first_time_unix_nano=START + 9)
        data, desc = frame(good, first_seq=desc.last_seq + 1, last_seq=7, min_time=START + 9, max_time=START + 11)
        builder.add_frame(data, desc, {1: 3})
        builder.finish_segment()
    return path


def test_every_reader_gives_what_is_whole_and_tells_of_the_rest(forged, monkeypatch):
    assert not verify(forged).good
    assert [event.seq for event in et.read(forged, strict=False)] == [5, 6, 7]
    with pytest.raises(CorruptRecordError):
        list(et.read(forged))
    follower, followed = StreamFollower(forged), []
    while not follower.finished:
        followed += follower.poll()
    assert [event.seq for one in followed for event in one.events] == [5, 6, 7]
    assert any(one.damage is not None for one in followed)
    tail = Tail(forged, Filter())
    assert [event.seq for events in tail.follow() for event in events] == [5, 6, 7]
    assert tail.warnings
    for few in (1, 16):
        monkeypatch.setattr("esper_telemetry.tables.scanning.FEW_EVENTS", few)
        with pytest.warns(RecordWarning):
            table = et.table(forged, "scalar.logged", strict=False)
        assert table["seq"].to_pylist() == [5, 6, 7], few
        with pytest.raises(CorruptRecordError):
            et.table(forged, "scalar.logged")


def test_compaction_leaves_it_as_it_is_and_a_recovery_leaves_the_frame_out(forged, tmp_path):
    before = forged.read_bytes()
    assert compact_file(forged, force=True).kept
    assert forged.read_bytes() == before
    recover(forged, tmp_path / "recovered.esr.zst")
    assert [event.seq for event in et.read(tmp_path / "recovered.esr.zst")][-3:] == [5, 6, 7]
    assert verify(tmp_path / "recovered.esr.zst").good
