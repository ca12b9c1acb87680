from __future__ import annotations

import pytest

from esper_telemetry.errors import NotARecordError, UnsupportedRecordError
from esper_telemetry.recordfile import RecordReader, RecordWriter, layout, verify
from esper_telemetry.recordfile.frame import FrameEncoder
from esper_telemetry.schema import Batch, frame_event


def test_a_good_file_has_no_problem_and_exact_counts(records):
    checked = verify(records.bytes())
    assert checked.good
    assert checked.closed
    assert checked.notes == []
    assert (checked.segments, checked.frames, checked.records, checked.unknown_types) == (1, 3, 120, 0)


def test_a_file_without_a_footer_is_noted(records):
    checked = verify(records.bytes(close=False))
    assert checked.good
    assert not checked.closed
    assert "no footer" in checked.notes[0]


def test_a_cut_file_fails_in_the_one_wording(records):
    data = records.bytes(close=False)[:-100]
    (problem,) = verify(data).problems
    assert str(problem) == f"file ends inside frame 3 at byte {len(data):,}; 80 events before it are intact"


def test_every_flipped_byte_is_found_or_changes_nothing(records, small_types):
    data = records.bytes(frames=2, per_frame=4, types=small_types)
    whole = RecordReader(data)
    reserved = set(range(18, 24))  # minor version and flags of the prologue carry no promise
    for at in sorted(set(range(len(data))) - reserved)[::2]:
        flipped = bytearray(data)
        flipped[at] ^= 0x21
        try:
            checked = verify(bytes(flipped))
        except (NotARecordError, UnsupportedRecordError):
            continue
        if checked.good:  # padding bits of a compressed block: what it says is the same
            reader = RecordReader(bytes(flipped))
            assert reader.header == whole.header, at
            assert list(reader.events()) == list(whole.events()), at


def forged(made, changes) -> bytes:
    """Return a record whose only frame has a descriptor with a valid checksum that lies."""
    data = made.bytes(frames=1, per_frame=10, close=False)
    frame = next(RecordReader(data).frames())
    return data[: frame.end - 64] + layout.pack_descriptor(frame.descriptor._replace(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"records": 9}, "counts 9 events, the frame holds 10"),
        ({"first_seq": 2, "last_seq": 11}, "covers sequence numbers 2 to 11"),
        ({"min_time": 5}, "spans 5 to"),
        ({"type_mask": 1}, "type mask 0x1"),
        ({"raw_size": 17}, "its descriptor 17"),
    ],
)
def test_a_descriptor_that_lies_is_found(records, changes, message):
    assert message in " ".join(map(str, verify(forged(records, changes)).problems))


def test_an_index_that_lies_is_found(records):
    data = records.bytes(frames=2, per_frame=10)
    reader = RecordReader(data)
    index = reader.index
    index.frames[1].max_time_unix_nano += 1
    index.type_counts[records.scalar] += 1
    packed = layout.pack_index(index.SerializeToString(deterministic=True))
    start = list(reader.frames())[-1].end
    entries = layout.parse_seek_table(data[-layout.seek_table_bytes(9) :])
    lied = data[:start] + packed + layout.pack_seek_table([*entries[:-1], layout.SeekEntry(len(packed), 0, 0)])
    problems = " ".join(map(str, verify(lied).problems))
    assert "other sequence numbers or times" in problems
    assert "events by type" in problems


def test_events_of_unknown_types_are_counted_and_no_problem(records):
    writer = RecordWriter(records.path(), records.header(), records.types[:1])
    event = frame_event(99, records.start, 1, b"", b"anything")
    broken = frame_event(1, records.start, 2, b"", b"\xff\xff")
    writer.write(Batch([event, broken], [99, 1], 1, 2, records.start, records.start))
    writer.close()
    checked = verify(writer.path)
    assert checked.good
    assert checked.unknown_types == 2


def test_descriptors_that_do_not_fit_are_found(records):
    from esper_telemetry.recordfile.header import header_descriptor, header_frame_bytes
    from esper_telemetry.v1 import record_pb2

    header = record_pb2.Header(format_major=1, file_id=bytes(16), run_id="x", file_descriptor_set=b"\x0a\x05wrong")
    raw = header_frame_bytes(header)
    frame = FrameEncoder(3).encode(raw)
    data = layout.pack_prologue() + frame + layout.pack_descriptor(header_descriptor(frame, raw))
    assert "descriptors are invalid" in str(verify(data).problems[0])


def test_progress_is_told_up_to_the_last_frame(records):
    told = []
    verify(records.bytes(), progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len({total for _, total in told}) == 1


def test_what_is_no_record_is_refused(records):
    with pytest.raises(NotARecordError, match="looks like text"):
        verify(b"this is text, not a record at all")
