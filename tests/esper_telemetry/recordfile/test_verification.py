from __future__ import annotations

import pytest

from esper_telemetry.errors import NotARecordError, UnsupportedRecordError
from esper_telemetry.recordfile import RecordReader, RecordWriter, layout, verify
from esper_telemetry.recordfile.frame import FrameEncoder
from esper_telemetry.recordfile.parity import pack_parity, parse_parity
from esper_telemetry.recordfile.source import BytesSource
from esper_telemetry.recordfile.walk import walk
from esper_telemetry.schema import Batch, frame_event
from esper_telemetry.v1 import context_pb2, training_pb2


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


@pytest.mark.parametrize(("batches", "steps", "good"), [
    ((2, 4), (20, 40), True), ((0, 9), (1, 99), True),
    ((3, 4), (20, 40), False), ((2, 3), (20, 40), False), (None, (20, 40), False),
    ((2, 4), (21, 40), False), ((2, 4), (20, 39), False), ((2, 4), None, False),
])  # fmt: skip
def test_an_index_that_misses_a_batch_or_a_step_is_found(records, batches, steps, good):
    contexts = [context_pb2.Context(batch_idx=one, step=one * 10).SerializeToString() for one in (2, 4, 3)]
    payload = training_pb2.ScalarLogged(name="a", value=1.0).SerializeToString()
    events = [frame_event(records.scalar, 100 + at, at, one, payload) for at, one in enumerate(contexts, 1)]
    path = records.path()
    writer = RecordWriter(path, records.header(), records.types, first=[records.scalar])
    batch = Batch(events, [records.scalar] * 3, 1, 3, 101, 103)
    writer.write(batch.replace(batch_range=batches, step_range=steps))
    writer.close()
    problems = [problem.reason for problem in verify(path).problems]
    assert problems == ([] if good else ["the index states other batches or steps of it than its events"])


def test_a_parity_of_another_header_and_one_without_a_header_are_found(records):
    data = records.bytes(frames=1, close=False)
    prologue, header, parity, *_ = list(walk(BytesSource(data)))
    frame = data[header.offset : header.offset + header.descriptor.compressed_size]
    fingerprint = parse_parity(data[parity.offset : parity.end]).fingerprint
    other = pack_parity(frame[:-1] + bytes([frame[-1] ^ 1]), fingerprint)
    foreign = verify(data[: parity.offset] + other + data[parity.end :])
    assert [one.reason for one in foreign.problems] == ["the parity is not that of the header before it"]
    alone = verify(data[: prologue.end] + data[parity.offset : parity.end] + data[prologue.end :])
    assert [one.reason for one in alone.problems] == ["a parity is here without a header before it"]
