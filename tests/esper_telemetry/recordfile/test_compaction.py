from __future__ import annotations

import os

import pytest

from esper_telemetry.recordfile import RecordReader, RecordWriter, layout, verify
from esper_telemetry.recordfile.compaction import compact_file, remove_left, rewrite
from esper_telemetry.recordfile.lock import lock_exclusive
from esper_telemetry.recordfile.time_limit import TimeLimit
from esper_telemetry.schema import Batch, frame_event
from esper_telemetry.v1 import context_pb2, run_pb2


def given(path) -> list:
    return list(RecordReader(path).events())


def beside(path) -> list:
    return [one.name for one in path.parent.iterdir() if one != path and "record" not in one.name[:6]]


def test_a_slow_record_gives_back_most_of_its_bytes_and_reads_the_same(records):
    path = records.write(frames=200, per_frame=3)
    before, size = given(path), path.stat().st_size
    done = compact_file(path)
    assert given(path) == before
    assert (done.before, done.after) == (size, path.stat().st_size)
    assert done.after < size / 3
    assert (done.frames, done.events, done.kept) == ((200, 1), 600, "")
    assert verify(path).good
    assert RecordReader(path).closed
    assert not beside(path)


def test_its_header_is_one_and_declares_what_its_events_have(records):
    writer = RecordWriter(records.path(), records.header(attributes={"a": "1"}), records.types[:1])
    for number in range(20):
        writer.write(records.batch(1 + 2 * number, 2, new_types=records.types[1:]))
    writer.close()
    with RecordReader(writer.path) as reader:
        old = reader.header
    assert not compact_file(writer.path).kept
    with RecordReader(writer.path) as reader:
        (segment,) = reader.segments
        assert len(segment.headers) == 1
        assert set(segment.types) == {records.scalar, records.epoch}
        new = reader.header
        for same in ("file_id", "run_id", "producer_id", "segment", "previous_file_id", "anchor_unix_nano", "pid"):
            assert getattr(new, same) == getattr(old, same)
        assert new.attributes == old.attributes
    assert verify(writer.path).unknown_types == 0


def test_ranges_of_dropped_numbers_and_where_it_begins_stay(records):
    path = records.path()
    writer = RecordWriter(
        path, records.header(previous_last_seq=100, segment=2, previous_file_id=b"p" * 16), records.types
    )
    for first in range(101, 301, 10):
        writer.write(records.batch(first, 5, last_seq=first + 9))
    writer.close()
    compact_file(path)
    with RecordReader(path) as reader:
        (frame,) = reader.frames()
        assert (frame.first_seq, frame.last_seq, frame.records) == (101, 300, 100)
        assert reader.header.previous_last_seq == 100
        assert not reader.damage


def test_several_segments_in_a_file_stay_several(records):
    one = records.bytes(frames=30, per_frame=2)
    other = records.bytes(frames=30, per_frame=2, rank=1, file_id=b"2" * 16)
    path = records.path()
    path.write_bytes(one + other)
    before = given(path)
    assert not compact_file(path).kept
    assert given(path) == before
    assert [segment.header.rank for segment in RecordReader(path).segments] == [0, 1]
    assert verify(path).good


def test_what_columns_would_not_give_back_stays_as_it_was(records):
    """Lists and maps, a payload that does not parse, one of no declared type, and fields of a later version."""
    finished = run_pb2.RunFinished(results={"a": 1.0, "b": 2.0}, duration_s=3.0)
    started = run_pb2.RunStarted(name="x", argv=["a", "b"])
    names = {kind.full_name: number for number, kind in records.types}
    odd = [
        (names[finished.DESCRIPTOR.full_name], finished.SerializeToString(deterministic=True)),
        (names[started.DESCRIPTOR.full_name], started.SerializeToString()),
        (records.scalar, b"\xff\xff\xff"),
        (records.scalar, b"\x9a\x3f\x01x"),
        (4000, b"anything"),
        (records.scalar, b""),
    ]
    writer = RecordWriter(records.path(), records.header(), records.types)
    seq = 0
    for _ in range(20):
        for type_id, payload in odd:
            seq += 1
            context = context_pb2.Context(env_id=seq % 3, batch_idx=seq).SerializeToString()
            at = records.start + seq
            event = frame_event(type_id, at, seq, context, payload)
            writer.write(Batch([event], [type_id], seq, seq, at, at))
    writer.close()
    before = given(writer.path)
    assert not compact_file(writer.path).kept
    assert given(writer.path) == before
    assert [one.payload for one in given(writer.path)[:6]] == [payload for _, payload in odd]


def test_a_second_time_there_is_nothing_to_do(records):
    path = records.write(frames=100, per_frame=3)
    compact_file(path)
    content = path.read_bytes()
    assert "would take" in compact_file(path, force=True).kept
    assert path.read_bytes() == content


def test_frames_that_are_full_are_not_looked_into(records):
    path = records.write(frames=2, per_frame=8000)
    content = path.read_bytes()
    assert compact_file(path).kept == "its frames are full"
    assert path.read_bytes() == content
    forced = compact_file(path, force=True)
    assert not forced.kept
    assert forced.after < len(content)


def test_a_dry_run_says_what_would_be_saved(records):
    path = records.write(frames=100, per_frame=3)
    content = path.read_bytes()
    told = compact_file(path, dry_run=True)
    assert path.read_bytes() == content
    assert not beside(path)
    assert compact_file(path).after == told.after


@pytest.mark.parametrize("close", [False, True])
def test_a_file_that_is_damaged_or_not_closed_stays_as_it_is(records, close):
    path = records.write(frames=50, per_frame=3, close=close)
    content = bytearray(path.read_bytes())
    if close:
        content[list(RecordReader(path).frames())[7].offset + 9] ^= 1
        path.write_bytes(content)
    left = compact_file(path)
    assert ("damaged" if close else "not closed") in left.kept or left.damaged
    assert path.read_bytes() == content
    assert not beside(path)


def test_what_is_no_record_is_said_to_be_none(tmp_path):
    path = tmp_path / "x.esr.zst"
    path.write_bytes(b"nothing")
    assert compact_file(path).damaged
    assert "no such file" in compact_file(tmp_path / "y").kept.lower()


def test_time_that_is_over_leaves_the_file_alone(records):
    path = records.write(frames=50, per_frame=3)
    content = path.read_bytes()
    assert compact_file(path, limit=TimeLimit(0.0, 0.0)).kept == "there was no time left"
    assert path.read_bytes() == content
    assert not beside(path)


def test_a_file_that_changes_meanwhile_is_left_alone(records):
    path = records.write(frames=50, per_frame=3)
    found = rewrite(path)
    with path.open("ab") as file:
        file.write(b"more")
    content = path.read_bytes()
    assert found.replace().kept == "it was changed meanwhile"
    assert path.read_bytes() == content
    assert not beside(path)


def test_a_file_that_is_gone_meanwhile_does_not_come_back(records):
    path = records.write(frames=50, per_frame=3)
    found = rewrite(path)
    path.unlink()
    assert found.replace().kept
    assert not path.exists()
    assert not beside(path)


def test_what_a_killed_compaction_left_is_removed_and_what_one_at_work_makes_is_not(records):
    path = records.write(frames=50, per_frame=3)
    dead, alive = path.with_name(".a-1.compacting"), path.with_name(".b-2.compacting")
    dead.write_bytes(b"x")
    alive.write_bytes(b"y")
    with alive.open("rb") as file:
        lock_exclusive(file.fileno())
        compact_file(path)
        assert not dead.exists()
        assert alive.exists()
    remove_left(path.parent)
    assert not alive.exists()


def test_rights_and_age_of_the_file_stay_and_a_link_leads_to_it(records):
    path = records.write(frames=50, per_frame=3)
    path.chmod(0o640)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    link = path.with_name("link.esr.zst")
    link.symlink_to(path)
    assert not compact_file(link).kept
    assert link.is_symlink()
    assert (path.stat().st_mode & 0o777, path.stat().st_mtime) == (0o640, 1_000_000_000)


def test_a_piece_of_another_writer_keeps_the_file_as_it_is(records):
    path = records.write(frames=50, per_frame=3, close=False)
    strange = b"\x50\x2a\x4d\x18" + (8).to_bytes(4, "little") + b"strange!"
    from esper_telemetry.recordfile.writer import RecordBuilder

    with RecordReader(path) as reader, RecordBuilder(records.path()) as builder:
        builder.start_segment()
        offset, desc = reader.segments[0].headers[0]
        data = path.read_bytes()
        builder.add_header(data[offset : offset + desc.compressed_size + layout.DESCRIPTOR_BYTES], desc)
        builder.add_skippable(strange)
        for frame in reader.frames():
            builder.add_frame(reader.read_raw(frame), frame.descriptor)
        builder.finish_segment()
    assert "later version" in compact_file(builder.path).kept


def test_time_that_will_not_do_is_noticed_before_it_is_over(records, monkeypatch):
    monkeypatch.setattr("esper_telemetry.recordfile.compaction._TRIAL_S", 0.0)
    path = records.write(frames=300, per_frame=3)
    seen = []
    left = compact_file(path, limit=TimeLimit(0.05, 60.0), progress=lambda done, total: seen.append(done / total))
    assert left.kept in ("there was no time left", "")
    if left.kept:
        assert max(seen, default=0.0) < 0.5
    assert verify(path).good
