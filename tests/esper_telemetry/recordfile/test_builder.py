from __future__ import annotations

import pytest

from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile import RecordReader, Selection, Skip, verify
from esper_telemetry.recordfile.header import header_parity
from esper_telemetry.recordfile.index import stated_ranges
from esper_telemetry.recordfile.layout import DESCRIPTOR_BYTES
from esper_telemetry.recordfile.writer import RecordBuilder


def rebuild(data: bytes, path, *, counts: bool, segments: int = 1) -> None:
    """Place the pieces of a record into a new file."""
    reader = RecordReader(data)
    with RecordBuilder(path) as builder:
        for _ in range(segments):
            builder.start_segment()
            for offset, desc in reader.segments[0].headers:
                end = offset + desc.compressed_size + DESCRIPTOR_BYTES
                parity = header_parity(data[offset : offset + desc.compressed_size], reader.header)
                builder.add_header(data[offset:end], desc, parity)
            infos = reader.index.frames
            for frame, info in zip(reader.frames(), infos, strict=True):
                facts = (info.type_counts, stated_ranges(info)) if counts else ()
                builder.add_frame(reader.read_raw(frame), frame.descriptor, *facts)
            builder.finish_segment()
        builder.sync()


def test_the_pieces_of_a_record_make_the_same_record(records):
    data = records.bytes()
    path = records.path()
    rebuild(data, path, counts=True)
    assert path.read_bytes() == data


def test_frames_nobody_looked_into_are_found_by_type_all_the_same(records):
    path = records.path()
    rebuild(records.bytes(), path, counts=False)
    with RecordReader(path) as reader:
        assert reader.closed
        assert len(list(reader.events(Selection(type_ids=frozenset({records.epoch}))))) == 40
        assert reader.damage == []
    assert verify(path).good


def test_several_segments_stand_in_one_file_each_with_its_footer(records):
    path = records.path()
    rebuild(records.bytes(frames=2, per_frame=5), path, counts=True, segments=3)
    with RecordReader(path) as reader:
        assert [segment.closed for segment in reader.segments] == [True] * 3
        assert reader.records == 30


def test_a_range_that_never_comes_is_marked(records):
    data = records.bytes(frames=1, per_frame=5)
    reader = RecordReader(data)
    path = records.path()
    with RecordBuilder(path) as builder:
        builder.start_segment()
        (offset, desc) = reader.segments[0].headers[0]
        builder.add_header(data[offset : offset + desc.compressed_size + DESCRIPTOR_BYTES], desc)
        builder.add_frame(reader.read_raw(next(reader.frames())), next(reader.frames()).descriptor)
        builder.add_skip(Skip(6, 9, 2))
        assert builder.last_seq == 9
        builder.finish_segment()
    assert verify(path).notes == ["sequence numbers 6 to 9 are marked as lost: the producer's file was damaged"]
    assert RecordReader(path.read_bytes()).segments[0].skips == [Skip(6, 9, 2)]


def test_a_body_that_raises_leaves_no_file(records):
    path = records.path()

    def fail() -> None:
        with RecordBuilder(path) as builder:
            builder.start_segment()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not path.exists()


def test_an_existing_output_is_never_overwritten(records):
    path = records.write()
    before = path.read_bytes()
    with pytest.raises(SinkError, match="exists already"):
        RecordBuilder(path)
    assert path.read_bytes() == before
