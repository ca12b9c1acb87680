from __future__ import annotations

import pytest

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.index import FrameRef, footer_pieces, mask_of, parse_index_message
from esper_telemetry.recordfile.layout import SeekEntry
from esper_telemetry.recordfile.piece import Kind
from esper_telemetry.recordfile.source import BytesSource
from esper_telemetry.recordfile.walk import read_footer


def footer_of(data: bytes):
    return read_footer(BytesSource(data), len(data))


def test_a_reference_knows_its_descriptor_and_its_end():
    ref = FrameRef(1000, 500, 2000, 10, 3, 1, 12, 100, 200, segment=2)
    assert ref.end == 1000 + 500 + 64
    assert ref.descriptor == (500, 2000, 10, 3, 1, 12, 100, 200)


def test_the_index_lists_every_frame_with_its_events_by_type(records):
    data = records.bytes(frames=3, per_frame=30)
    reader = RecordReader(data)
    assert [info.records for info in reader.index.frames] == [30, 30, 30]
    assert reader.index.type_counts == {records.scalar: 60, records.epoch: 30}
    assert reader.index.frames[0].type_counts == {records.scalar: 20, records.epoch: 10}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index, entries: index.frames[1].__setattr__("raw_size", 1), "that the index has not so"),
        (lambda index, entries: index.frames.__delitem__(1), "that the index has not so"),
        (lambda index, entries: index.frames.add(offset=9), "lists 1 frames that the seek table has not"),
        (lambda index, entries: index.header_offsets.append(9), "lists 1 frames"),
        (lambda index, entries: index.__setattr__("records", 5), "counts 5 events"),
        (lambda index, entries: index.frames[1].__setattr__("records", 500), "counts 500 events in the frame"),
        (lambda index, entries: index.frames[1].__setattr__("records", 41), "counts 41 events in the frame"),
        (lambda index, entries: entries.__setitem__(0, SeekEntry(25, 0, 0)), "does not start with a prologue"),
        (lambda index, entries: entries.__setitem__(5, SeekEntry(60, 0, 0)), "no descriptor after the frame"),
    ],
)
def test_an_index_and_a_seek_table_that_disagree_are_refused(records, change, message):
    data = records.bytes()
    footer = footer_of(data)
    change(footer.index, footer.entries)
    with pytest.raises(CorruptRecordError, match=message):
        footer_pieces(BytesSource(data), 0, footer.index, footer.entries, len(data))


def test_a_footer_gives_the_pieces_of_its_file(records):
    data = records.bytes(frames=2)
    footer = footer_of(data)
    pieces = footer_pieces(BytesSource(data), 0, footer.index, footer.entries, len(data))
    assert [piece.kind for piece in pieces][-2:] == [Kind.INDEX, Kind.SEEK_TABLE]
    assert pieces[-1].end == len(data)


def test_bytes_that_are_no_index_are_refused():
    with pytest.raises(CorruptRecordError, match="no protobuf"):
        parse_index_message(b"\xff\xff")


def test_a_mask_has_a_bit_for_each_type():
    assert mask_of([1, 3, 3, 40]) == 0b101 | 1 << 31
    assert [mask_of([one]) for one in (30, 31, 32, 33)] == [1 << 29, 1 << 30, 1 << 31, 1 << 31], (
        "the last bit is shared"
    )
