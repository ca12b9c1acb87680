from __future__ import annotations

import pytest

from esper_telemetry.errors import CorruptRecordError, SinkError
from esper_telemetry.recordfile import RecordReader, Skip
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.keep import Keep
from esper_telemetry.recordfile.place import Placed, place
from esper_telemetry.recordfile.source import BytesSource
from esper_telemetry.recordfile.walk import walk
from esper_telemetry.recordfile.writer import RecordBuilder


def contexts_of(data: bytes) -> list:
    source = BytesSource(data)
    keep = Keep(source, FrameDecoder())
    keep.add_all(walk(source))
    return keep.contexts


def test_a_hole_is_marked_and_counted(records):
    contexts = contexts_of(records.bytes(frames=4, per_frame=10))
    del contexts[0].items[2]
    result = Placed(records.path())
    place(contexts, result)
    assert result.lost == [(0, 11, 20)]
    assert result.lost_numbers == 10
    assert not result.complete
    with RecordReader(result.output) as reader:
        assert reader.segments[0].skips == [Skip(11, 20, 2)]
        assert reader.damage == []
        assert reader.records == result.events == 30


def test_a_frame_that_is_there_already_is_left_out(records):
    contexts = contexts_of(records.bytes(frames=2, per_frame=10))
    contexts[0].items.append(contexts[0].items[1])
    result = Placed(records.path())
    place(contexts, result)
    assert (result.repeats, result.frames, result.complete) == (1, 2, True)


def test_an_end_that_is_known_to_be_gone_is_marked(records):
    contexts = contexts_of(records.bytes(frames=2, per_frame=10))
    contexts[0].known_last_seq = 25
    result = Placed(records.path())
    place(contexts, result)
    assert result.lost == [(0, 21, 25)]


def test_an_existing_output_stays_as_it_is(records):
    output = records.write()
    before = output.read_bytes()
    with pytest.raises(SinkError, match="exists already"):
        place(contexts_of(before), Placed(output))
    assert output.read_bytes() == before


def test_an_output_that_does_not_read_back_is_removed(records, monkeypatch):
    contexts, output = contexts_of(records.bytes(frames=2, per_frame=10)), records.path()
    sync = RecordBuilder.sync

    def torn(self):
        sync(self)
        data = bytearray(output.read_bytes())
        data[len(data) // 2] ^= 0xFF  # as a failing disk would
        output.write_bytes(data)

    monkeypatch.setattr(RecordBuilder, "sync", torn)
    with pytest.raises(CorruptRecordError):
        place(contexts, Placed(output))
    assert not output.exists()
