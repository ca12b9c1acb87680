from __future__ import annotations

import pytest

from esper_telemetry.errors import CorruptRecordError, NotARecordError, UnsupportedRecordError
from esper_telemetry.recordfile import PayloadReader, RecordReader, RecordWriter, Segment, Selection, layout
from esper_telemetry.recordfile.frame import FrameDecoder, FrameEncoder
from esper_telemetry.recordfile.header import header_descriptor, header_frame_bytes
from esper_telemetry.recordfile.layout import Descriptor
from esper_telemetry.v1 import record_pb2


def seqs(reader, selection=None, **options) -> list[int]:
    return [event.seq for event in reader.events(selection, **options)]


def test_the_footer_and_the_walk_without_it_give_the_same_frames(records):
    data = records.bytes(frames=8)
    closed, cut = RecordReader(data), RecordReader(records.bytes(frames=8, close=False))
    assert closed.closed
    assert not cut.closed
    assert cut.truncation is None
    assert list(closed.frames()) == list(cut.frames())
    assert closed.types == cut.types
    assert closed.descriptor_sets == cut.descriptor_sets


@pytest.mark.parametrize("close", [True, False], ids=["footer", "walk"])
def test_a_window_decompresses_only_the_frames_it_concerns(records, mocker, close):
    reader = RecordReader(records.bytes(frames=20, per_frame=50, close=close))
    decode = mocker.spy(FrameDecoder, "decode")
    assert seqs(reader, Selection(first_seq=495, last_seq=510)) == list(range(495, 511))
    assert decode.call_count == 2
    since = records.start + 701 * 1_000_000
    assert seqs(reader, Selection(since_ns=since, until_ns=since + 3_000_000)) == [701, 702, 703]
    assert decode.call_count == 3
    assert seqs(reader, Selection(type_ids=frozenset({31}))) == []
    assert decode.call_count == 3


def test_events_are_selected_by_type_and_environment(records):
    reader = RecordReader(records.bytes(frames=2, per_frame=30))
    epochs = list(reader.events(Selection(type_ids=frozenset({records.epoch}))))
    assert {event.type_id for event in epochs} == {records.epoch}
    assert len(epochs) == 20
    chosen = Selection(env_ids=frozenset({1, 2}))
    assert {event.context.env_id for event in reader.events(chosen)} == {1, 2}


def test_each_prologue_of_a_concatenation_starts_its_own_types_and_numbers(records):
    one = records.bytes(frames=2, per_frame=10)
    two = records.bytes(frames=1, per_frame=5, types=[], file_id=bytes(16), close=False)
    three = records.bytes(frames=1, per_frame=5)
    reader = RecordReader(one + two + three)
    assert [segment.records for segment in reader.segments] == [20, 5, 5]
    assert [len(segment.types) for segment in reader.segments] == [2, 0, 2]
    assert [segment.closed for segment in reader.segments] == [True, False, True]
    assert seqs(reader) == [*range(1, 21), *range(1, 6), *range(1, 6)]
    assert reader.damage == []
    assert [frame.segment for frame in reader.frames()] == [0, 0, 1, 2]


def test_the_raw_bytes_of_a_frame_are_those_of_the_file(records):
    data = records.bytes()
    reader = RecordReader(data)
    for frame in reader.frames():
        assert reader.read_raw(frame) == data[frame.offset : frame.end]


def test_a_cut_file_says_so_in_one_wording_and_reads_on(records):
    data = records.bytes(frames=3, per_frame=40, close=False)
    reader = RecordReader(data[:-100])
    expected = f"file ends inside frame 3 at byte {len(data) - 100:,}; 80 events before it are intact"
    assert str(reader.truncation) == expected
    assert seqs(reader) == list(range(1, 81))
    assert reader.damage == []


def test_a_cut_footer_costs_no_event(records):
    data = records.bytes()
    reader = RecordReader(data[:-1])
    assert reader.truncation.events == 120
    assert not reader.closed
    assert len(seqs(reader)) == 120


def test_every_length_of_a_file_gives_exactly_its_whole_frames(records, small_types):
    data = records.bytes(frames=6, per_frame=20, types=small_types)
    whole = RecordReader(data)
    ends = [frame.end for frame in whole.frames()]
    index_end = len(data) - layout.seek_table_bytes(2 * len(ends) + 5)
    (header_offset, desc) = whole.segments[0].headers[0]
    header_end = header_offset + desc.compressed_size + layout.DESCRIPTOR_BYTES
    parity_end = next(whole.frames()).offset
    for cut in range(len(data)):
        if cut < header_end:
            with pytest.raises((CorruptRecordError, NotARecordError)):
                RecordReader(data[:cut])
            continue
        reader = RecordReader(data[:cut])
        intact = sum(end <= cut for end in ends) * 20
        assert seqs(reader) == list(range(1, intact + 1)), cut
        assert reader.damage == [], cut
        expected = None if cut in {header_end, parity_end, *ends, index_end} else intact
        assert (reader.truncation and reader.truncation.events) == expected, cut


def test_a_damaged_frame_is_raised_with_place_numbers_and_the_next_step(records):
    data = bytearray(records.bytes(frames=3, per_frame=40))
    frame = list(RecordReader(bytes(data)).frames())[1]
    data[frame.offset + frame.compressed_size // 2] ^= 1
    reader = RecordReader(bytes(data))
    read = []
    with pytest.raises(CorruptRecordError, match=r"numbers 41 to 80 .* run esper-telemetry recover") as caught:
        read.extend(event.seq for event in reader.events())
    assert caught.value.offset == frame.offset
    told = []
    assert seqs(reader, on_damage=told.append) == [*range(1, 41), *range(81, 121)]
    assert [(damage.first_seq, damage.last_seq) for damage in told] == [(41, 80)]


@pytest.mark.parametrize("close", [True, False], ids=["footer", "walk"])
def test_a_descriptor_that_disagrees_is_refused(records, close):
    data = bytearray(records.bytes(frames=3, per_frame=40, close=close))
    frame = list(RecordReader(bytes(data)).frames())[1]
    at = frame.offset + frame.compressed_size
    forged = Descriptor._make(frame.descriptor)._replace(records=39)
    data[at : at + layout.DESCRIPTOR_BYTES] = layout.pack_descriptor(forged)
    told = []
    assert seqs(RecordReader(bytes(data)), on_damage=told.append) == [*range(1, 41), *range(81, 121)]
    assert len(told) == 1


def test_damage_between_frames_is_told_with_its_bytes_and_numbers(records):
    data = bytearray(records.bytes(frames=5, per_frame=10, close=False))
    frames = list(RecordReader(bytes(data)).frames())
    start, end = frames[1].offset + 10, frames[2].end - 10
    data[start:end] = bytes(end - start)
    reader = RecordReader(bytes(data))
    (damage,) = reader.damage
    assert (damage.offset, damage.end) == (frames[1].offset, frames[3].offset)
    assert (damage.first_seq, damage.last_seq) == (11, 30)
    assert "numbers 11 to 30 are lost" in str(damage)
    assert seqs(reader, on_damage=lambda _: None) == [*range(1, 11), *range(31, 51)]
    with pytest.raises(CorruptRecordError, match="numbers 11 to 30 are lost; run esper-telemetry recover"):
        seqs(reader)


def test_a_frame_cut_out_without_a_trace_is_missed_by_its_numbers(records):
    data = records.bytes(frames=4, per_frame=10, close=False)
    frames = list(RecordReader(data).frames())
    reader = RecordReader(data[: frames[1].offset] + data[frames[1].end :])
    (damage,) = reader.damage
    assert str(damage) == "frames are missing here; sequence numbers 11 to 20 are lost"


def test_a_repeated_frame_is_reported(records):
    data = records.bytes(frames=3, per_frame=10, close=False)
    frame = list(RecordReader(data).frames())[1]
    reader = RecordReader(data[: frame.end] + data[frame.offset : frame.end] + data[frame.end :])
    (damage,) = reader.damage
    assert "repeated or reordered" in str(damage)


def test_a_footer_that_lies_is_not_trusted_and_costs_nothing(records):
    data = records.bytes(frames=4, per_frame=10)
    frames = list(RecordReader(data).frames())
    reader = RecordReader(data[: frames[1].offset] + data[frames[1].end :])
    assert not reader.closed
    assert seqs(reader, on_damage=lambda _: None) == [*range(1, 11), *range(21, 41)]
    assert any("footer is not trusted" in str(damage) for damage in reader.damage)


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        (b"", "it is empty"),
        (b'{"a": 1}', "looks like JSON"),
        (b"\x1f\x8b\x08aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "a gzip file"),
        (b"PAR1" * 20, "a Parquet file"),
        (FrameEncoder(3).encode(b"abc"), "a zstd file that is no record"),
    ],
)
def test_what_is_no_record_is_refused_by_what_it_looks_like(data, looks):
    with pytest.raises(NotARecordError, match=looks):
        RecordReader(data)


def test_a_newer_format_is_refused_with_the_way_out(records):
    data = bytearray(records.bytes())
    data[16] = 2
    header = header_frame_bytes(record_pb2.Header(format_major=2, file_id=bytes(16), run_id="x"))
    frame = FrameEncoder(3).encode(header)
    newer = bytes(data[:24]) + frame + layout.pack_descriptor(header_descriptor(frame, header))
    with pytest.raises(UnsupportedRecordError, match=r"at byte 0: the format is version 2\.0.*update esper-telemetry"):
        RecordReader(newer)


def test_a_damaged_prologue_costs_nothing_but_itself(records):
    data = bytearray(records.bytes(frames=2, per_frame=10))
    for at, value in ((0, 0), (8, 0xFF), (16, 2), (17, 2)):
        damaged = bytearray(data)
        damaged[at] = value
        reader = RecordReader(bytes(damaged))
        assert seqs(reader, on_damage=lambda _: None) == list(range(1, 21)), at
        assert "the prologue is damaged" in reader.repairs[0]


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(NotARecordError, match="no such file"):
        RecordReader(tmp_path / "missing.esr.zst")
    with pytest.raises(NotARecordError, match="folder"):
        RecordReader(tmp_path)


def test_a_torn_header_is_refused(records):
    data = bytearray(records.bytes())
    with pytest.raises(CorruptRecordError, match="ends inside its header"):
        RecordReader(bytes(data[:500]))
    with pytest.raises(CorruptRecordError, match="ends after its prologue; it holds no event"):
        RecordReader(bytes(data[:24]))
    data[200:1200] = bytes(1000)
    with pytest.raises(CorruptRecordError, match="the header is torn"):
        RecordReader(bytes(data))


def test_a_header_over_the_limit_is_refused_before_it_is_read(records):
    frame = FrameEncoder(3).encode(bytes(5 << 20))
    desc = Descriptor(len(frame), 5 << 20, 0, 0, 0, 0, 0, 0)
    with pytest.raises(CorruptRecordError, match="header takes 5,242,880 bytes"):
        RecordReader(layout.pack_prologue() + frame + layout.pack_descriptor(desc))


def test_a_frame_that_holds_something_else_than_its_count_is_refused(records):
    reader = RecordReader(records.bytes(frames=1, per_frame=10, close=False))
    frame = next(reader.frames())
    raw = record_pb2.RecordFile(event=[{"seq": 1, "payload": b"12345"}] * 9).SerializeToString()
    content = FrameEncoder(3).encode(raw)
    desc = frame.descriptor._replace(compressed_size=len(content), raw_size=len(raw))
    data = records.bytes(frames=0, close=False) + content + layout.pack_descriptor(desc)
    with pytest.raises(CorruptRecordError, match="holds 9 events, its descriptor states 10"):
        list(RecordReader(data).events())


def test_unknown_skippable_frames_and_minor_versions_are_passed_over(records):
    data = bytearray(records.bytes(frames=2, per_frame=10, close=False))
    data[18] = 200
    at = next(RecordReader(bytes(data)).frames()).end
    ours = layout.SKIPPABLE_HEADER.pack(layout.OUR_MAGIC, 8) + b"ENEWxxxx"
    theirs = layout.SKIPPABLE_HEADER.pack(b"\x50\x2a\x4d\x18", 3) + b"abc"
    reader = RecordReader(bytes(data[:at]) + ours + theirs + bytes(data[at:]))
    assert seqs(reader) == list(range(1, 21))
    assert reader.damage == []


def test_a_range_that_will_never_come_is_no_damage(records):
    first = records.bytes(frames=1, per_frame=10, close=False)
    second = records.bytes(frames=1, per_frame=10, previous_last_seq=20, close=False)
    frame = next(RecordReader(second).frames())
    skip = layout.pack_skip(layout.Skip(11, 20, layout.SkipReason.SPOOL_LOST))
    reader = RecordReader(first + skip + second[frame.offset : frame.end])
    assert reader.segments[0].skips == [layout.Skip(11, 20, 1)]
    assert reader.damage == []
    assert seqs(reader) == [*range(1, 11), *range(21, 31)]


def test_a_record_from_a_pipe_is_read_from_its_bytes(records):
    assert RecordReader(records.bytes()).path == "-"


def test_a_growing_file_is_read_as_far_as_it_stands(records):
    writer = RecordWriter(records.path(), records.header(), records.types)
    writer.write(records.batch(1, 10))
    with RecordReader(writer.path) as reader:
        writer.write(records.batch(11, 10))
        assert seqs(reader) == list(range(1, 11))
    writer.close()


def payloads(records, frames=2, per_frame=10) -> list[bytes]:
    """Return frames with their descriptors, as a stream carries them."""
    with RecordReader(records.write(frames=frames, per_frame=per_frame)) as reader:
        return [reader.read_raw(frame) for frame in reader.frames()]


def test_frames_that_come_one_by_one_are_read_like_those_of_a_file(records):
    reader = PayloadReader("10.0.0.1:4318")
    for number, payload in enumerate(payloads(records)):
        first = 1 + 10 * number
        assert [one.seq for one in reader.read_content(payload, Selection()).events] == list(range(first, first + 10))
        wanted = Selection(first_seq=first + 8)
        assert [one.seq for one in reader.read_content(payload, wanted).events] == [first + 8, first + 9]
        assert list(reader.read_content(payload, Selection(first_seq=first + 10)).events) == []


def test_every_damaged_frame_that_comes_by_itself_is_refused_with_its_place(records):
    (payload,) = payloads(records, frames=1)
    reader = PayloadReader("10.0.0.1:4318")
    for cut in (0, 1, 64, len(payload) - 1):
        with pytest.raises(CorruptRecordError, match=r"10\.0\.0\.1:4318: .*no frame with its descriptor"):
            reader.read_content(payload[:cut], Selection())
    with pytest.raises(CorruptRecordError, match="no frame with its descriptor"):
        reader.read_content(b"x" + payload, Selection())
    frame = len(payload) - layout.DESCRIPTOR_BYTES
    for at in range(frame):
        flipped = payload[:at] + bytes([payload[at] ^ 0xFF]) + payload[at + 1 :]
        with pytest.raises(CorruptRecordError, match="the frame with sequence numbers 1 to 10 cannot be read"):
            reader.read_content(flipped, Selection())


def test_a_segment_of_a_header_alone_declares_what_the_header_does(records):
    with RecordReader(records.write()) as reader:
        segment, whole = Segment.of_header(reader.header), reader.segments[0]
    assert (segment.types, segment.descriptor_sets) == (whole.types, whole.descriptor_sets)
    assert segment.frames == []
