from __future__ import annotations

import pytest

from esper_telemetry.errors import CorruptRecordError, NotARecordError, SinkError
from esper_telemetry.recordfile import RecordReader, RecordWriter, recover, verify
from esper_telemetry.recordfile.keep import UNVERIFIED
from esper_telemetry.recordfile.layout import pack_descriptor


def seqs(path) -> list[int]:
    with RecordReader(path) as reader:
        return [event.seq for event in reader.events()]


def test_a_good_file_is_recovered_byte_for_byte(records):
    data = records.bytes()
    output = records.path()
    result = recover(data, output)
    assert output.read_bytes() == data
    assert result.complete
    assert (result.frames, result.events, result.lost_bytes) == (3, 120, 0)


def test_a_killed_writers_file_gets_its_footer_and_is_not_said_to_be_complete(records):
    output = records.path()
    result = recover(records.write(close=False), output)
    assert output.read_bytes() == records.bytes()
    assert (result.unclosed, result.complete) == (1, False)
    assert recover(output, records.path()).complete, "what was lost before is told once"


def test_a_frame_that_vanished_with_the_index_is_not_overlooked(records):
    data = records.bytes(frames=3, per_frame=10)
    *_, last = RecordReader(data).frames()
    seek_table = data.rindex(b"\x5e\x2a\x4d\x18")
    result = recover(data[: last.offset] + data[seek_table:], records.path())
    assert result.events == 20
    assert not result.complete


@pytest.mark.parametrize("whole", [True, False])
def test_either_half_of_a_footer_says_that_the_writer_finished(records, whole):
    data = bytearray(records.bytes(frames=3, per_frame=10))
    index = bytes(data).rindex(b"EIDX")
    if whole:
        data[index + 9] ^= 1  # the seek table is left
    else:
        del data[-20:]  # the index is left
    assert recover(bytes(data), records.path()).complete


def test_the_damaged_file_is_never_touched(records):
    path = records.path()
    path.write_bytes(records.bytes()[:-500])
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    recover(path, records.path())
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_damaged_frame_costs_itself_only_and_is_reported(records):
    data = bytearray(records.bytes(frames=5, per_frame=10))
    frame = list(RecordReader(bytes(data)).frames())[2]
    data[frame.offset + 30] ^= 4
    output = records.path()
    result = recover(bytes(data), output)
    assert not result.complete
    assert result.lost == [(0, 21, 30)]
    assert [(damage.first_seq, damage.last_seq) for damage in result.damage["-"]] == [(21, 30)]
    assert seqs(output) == [*range(1, 21), *range(31, 51)]
    assert verify(output).good


def test_the_events_of_a_cut_frame_are_kept_and_marked_as_unverified(records):
    writer = RecordWriter(records.path(), records.header(), records.types)
    writer.write(records.batch(1, 10))
    writer.write(records.batch(11, 12_000))
    writer.abandon()
    data = writer.path.read_bytes()
    output = records.path()
    result = recover(data[: len(data) - 5000], output)
    assert 1000 < result.unverified < 12_000
    assert not result.complete
    assert seqs(output) == list(range(1, 11 + result.unverified))
    with RecordReader(output) as reader:
        assert reader.header.attributes[UNVERIFIED] == f"11-{10 + result.unverified}"
    checked = verify(output)
    assert checked.good
    cut = f"sequence numbers 11 to {10 + result.unverified} come from a cut frame"
    assert checked.notes == [f"{cut} and are unverified"]


def test_recovering_again_gives_the_same_bytes_and_loses_nothing_more(records):
    data = bytearray(records.bytes(frames=6, per_frame=30))
    frames = list(RecordReader(bytes(data)).frames())
    data[frames[1].offset + 5] ^= 1
    del data[frames[3].offset + 10 : frames[3].offset + 40]
    first, second = records.path(), records.path()
    assert not recover(bytes(data[:-700]), first).complete
    again = recover(first, second)
    assert again.complete
    assert second.read_bytes() == first.read_bytes()


def test_a_repeated_and_a_swapped_frame_are_put_right(records):
    data = records.bytes(frames=3, per_frame=10, close=False)
    one, two, three = (data[f.offset : f.end] for f in RecordReader(data).frames())
    head = data[: data.index(one)]
    output = records.path()
    result = recover(head + two + one + two + three, output)
    assert (result.repeats, result.lost, result.open_end) == (1, [], False)
    assert output.read_bytes() == records.bytes(frames=3, per_frame=10)


def test_a_descriptor_that_lies_is_made_again(records):
    data = bytearray(records.bytes(frames=3, per_frame=10))
    frame = list(RecordReader(bytes(data)).frames())[1]
    data[frame.end - 60] ^= 1
    output = records.path()
    result = recover(bytes(data), output)
    assert (result.rebuilt, result.events, result.complete) == (1, 30, True)
    assert verify(output).good


def test_a_descriptor_that_claims_a_lost_frames_numbers_does_not_hide_the_loss(records):
    data = bytearray(records.bytes(frames=4, per_frame=10))
    _, lost, liar, _ = RecordReader(bytes(data)).frames()
    data[lost.offset + 30] ^= 4
    data[liar.end - 64 : liar.end] = pack_descriptor(liar.descriptor._replace(first_seq=1))
    output = records.path()
    result = recover(bytes(data), output)
    assert result.lost == [(0, 11, 20)]
    data[liar.end - 64 : liar.end] = pack_descriptor(liar.descriptor._replace(first_seq=11))
    assert recover(bytes(data), records.path()).lost == [(0, 11, 20)]
    assert verify(output).good


def test_a_lost_prologue_and_a_lost_header_descriptor_cost_nothing(records):
    data = bytearray(records.bytes(frames=3, per_frame=10))
    first = next(RecordReader(bytes(data)).frames()).offset
    data[3] ^= 255
    data[first - 5] ^= 255
    output = records.path()
    assert recover(bytes(data), output).complete
    assert seqs(output) == list(range(1, 31))


def test_each_segment_of_a_concatenation_is_recovered(records):
    one = records.bytes(frames=2, per_frame=10)
    two = records.bytes(frames=2, per_frame=10, file_id=b"2" * 16)
    output = records.path()
    result = recover(one[:-200] + two, output)
    assert result.segments == 2
    assert seqs(output) == [*range(1, 21), *range(1, 21)]
    twice = records.path()
    assert recover(one + one, twice).repeats == 2
    assert twice.read_bytes() == one


def test_types_declared_later_keep_their_place(records):
    writer = RecordWriter(records.path(), records.header(), records.types[:1])
    writer.write(records.batch(1, 10, new_types=records.types[1:]))
    writer.close()
    output = records.path()
    recover(writer.path.read_bytes()[:-100], output)
    assert output.read_bytes() == writer.path.read_bytes()


def test_an_empty_file_is_said_to_be_empty(records):
    with pytest.raises(NotARecordError, match="nothing of a record is in it: it is empty"):
        recover(b"", records.path())


@pytest.mark.parametrize("data", [b"", b"hello, this is text", bytes(5000)])
def test_what_never_was_a_record_is_refused(data, records):
    output = records.path()
    with pytest.raises((NotARecordError, CorruptRecordError), match=r"nothing (of a record|is recoverable)|no header"):
        recover(data, output)
    assert not output.exists()


def test_a_record_without_any_header_is_not_recoverable(records):
    data = bytearray(records.bytes(frames=1))
    end = next(RecordReader(bytes(data)).frames()).offset
    data[30:end] = bytes(end - 30)
    with pytest.raises(CorruptRecordError, match=r"no header can be read.*; pass .* as --schema-from"):
        recover(bytes(data), records.path())


def test_what_is_recovered_is_compact_where_that_is_asked_for(records):
    data = records.bytes(frames=60, per_frame=3)
    cut = data[: list(RecordReader(data).frames())[49].end]
    plain, compact, again = records.path(), records.path(), records.path()
    recover(cut, plain)
    result = recover(cut, compact, compact=True)
    assert compact.stat().st_size < 0.67 * plain.stat().st_size
    assert (result.frames, result.events, result.unclosed, result.complete) == (1, 150, 1, False)
    assert verify(compact).good
    with RecordReader(plain) as one, RecordReader(compact) as other:
        assert list(other.events()) == list(one.events())
    assert recover(compact, again, compact=True).complete
    assert again.read_bytes() == compact.read_bytes()


def test_a_file_with_events_that_are_unverified_stays_as_its_frames_are(records):
    writer = RecordWriter(records.path(), records.header(), records.types)
    for number in range(40):
        writer.write(records.batch(3 * number + 1, 3))
    writer.write(records.batch(121, 12_000))
    writer.abandon()
    data, plain, compact = writer.path.read_bytes(), records.path(), records.path()
    recover(data[: len(data) - 5000], plain)
    result = recover(data[: len(data) - 5000], compact, compact=True)
    assert result.frames == 41
    assert result.unverified > 1000
    assert compact.read_bytes() == plain.read_bytes()


def test_an_existing_output_is_refused(records):
    output = records.write()
    with pytest.raises(SinkError, match="exists already"):
        recover(records.bytes(), output)
