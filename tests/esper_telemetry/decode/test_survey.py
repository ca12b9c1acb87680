"""Folders as people have them: whatever stands in them, what can be read is read, and the rest is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

import esper_telemetry
from esper_telemetry import RecordOptions, read
from esper_telemetry.decode import (
    Filter,
    Tail,
    compare,
    count_events,
    record_files,
    record_reference,
    summarize,
    survey,
)
from esper_telemetry.errors import CorruptRecordError, NotARecordError, RecordError
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.append import AppendFile
from esper_telemetry.report.gathering import gather
from esper_telemetry.v1 import training_pb2

BAD = {
    "empty": (b"", "empty"),
    "zeroed": (bytes(5_000), "starts with zeros"),
    "text": (b"Stale NFS file handle\n", "looks like text"),
    "zip": (b"PK\x03\x04rest", "a zip file"),
    "torn prologue": (b"\x57\x2a\x4d\x18\x10\x00\x00\x00ESPER", "ends inside its prologue"),
}


@pytest.fixture
def folder(record_run):
    """A good run of ten events."""
    return record_run()


def sibling(folder, number=2):
    (good,) = folder.glob("*-000001.esr.zst")
    return good.with_name(good.name.replace("000001", f"{number:06d}"))


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_named_with_its_reason_and_takes_nothing_else(folder, kind):
    content, reason = BAD[kind]
    bad = sibling(folder)
    bad.write_bytes(content)
    records = read(folder)
    assert [event.seq for event in records] == list(range(1, 11))
    (warning,) = records.warnings
    assert str(bad) in warning
    assert reason in warning
    assert summarize(folder).streams[0].events == 10
    assert len(record_reference(folder).events) > 5
    assert len(Tail(folder, Filter()).last(100)) == 10
    assert sum(known.events for known in compare(*[record_files(folder)] * 2).left.streams) == 10
    assert count_events(read(folder))


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_that_is_named_alone_is_an_error_of_its_own(folder, kind):
    bad = sibling(folder)
    bad.write_bytes(BAD[kind][0])
    with pytest.raises(RecordError, match=BAD[kind][1]):
        read(bad)


def test_half_a_copy_beside_the_file_gives_each_event_once(folder):
    (good,) = folder.iterdir()
    data = good.read_bytes()
    good.with_name("x (conflicted copy).esr.zst").write_bytes(data[: len(data) - 400])
    records = read(folder)
    assert [event.seq for event in records] == list(range(1, 11))
    assert any("is a copy of" in warning for warning in records.warnings)
    assert summarize(folder).streams[0].events == 10


def test_a_copy_gives_what_the_damaged_file_has_not(write_record, scalars, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    path = write_record(scalars(10), scalars(10), scalars(10), path=folder / "a.esr.zst")
    shutil.copy(path, folder / "b.esr.zst")
    data = bytearray(path.read_bytes())
    starts = [at for at in range(len(data)) if data[at : at + 4] == b"\x28\xb5\x2f\xfd"]
    data[starts[2] + 30] ^= 0xFF
    path.write_bytes(data)
    other = bytearray((folder / "b.esr.zst").read_bytes())
    other[starts[3] + 30] ^= 0xFF
    (folder / "b.esr.zst").write_bytes(other)
    records = read(folder)
    assert [event.seq for event in records] == list(range(1, 31))
    assert records.missing == 0


def test_a_record_and_what_was_merged_from_it_count_once(tmp_path):
    options = RecordOptions(segment_bytes=8_000, frame_bytes=2_000, compact=False)
    with esper_telemetry.start_run(tmp_path, name="m", run_id="m", record=options) as run:
        for number in range(2_000):
            run.emit(training_pb2.ScalarLogged, name=f"n{number * 7919 % 1000}", value=number**0.5)
            if number % 100 == 0:
                run.flush()
    from esper_telemetry.recordfile import merge

    merge(sorted(run.folder.iterdir()), run.folder / "all.esr.zst")
    assert [event.seq for event in read(run.folder)] == list(range(1, 2_003))
    (stream,) = summarize(run.folder).streams
    assert (stream.events, stream.missing) == (2_002, 0)


def test_a_folder_of_bad_files_only_is_refused_with_the_first_reason(folder):
    for path in folder.iterdir():
        path.write_bytes(b"")
    with pytest.raises(NotARecordError, match="it is empty; nothing else is there to read"):
        survey(folder)


def test_a_pipe_in_a_folder_stops_nobody(folder):
    os.mkfifo(sibling(folder))
    assert len(list(read(folder))) == 10
    with pytest.raises(NotARecordError, match="a pipe or a device"):
        read(sibling(folder))


def test_a_segment_without_header_is_read_by_that_of_its_sibling(tmp_path):
    options = RecordOptions(segment_bytes=8_000, frame_bytes=2_000, compact=False)
    with esper_telemetry.start_run(tmp_path, name="m", run_id="m", record=options) as run:
        for number in range(2_000):
            run.emit(training_pb2.ScalarLogged, name=f"n{number * 7919 % 1000}", value=number**0.5)
            if number % 100 == 0:
                run.flush()
    paths = sorted(run.folder.iterdir())
    data = bytearray(paths[1].read_bytes())
    with RecordReader(paths[1]) as reader:
        end = next(reader.frames()).offset
    data[24:end] = bytes(end - 24)
    paths[1].write_bytes(data)
    with pytest.raises(CorruptRecordError):
        list(read(run.folder))
    records = read(run.folder, strict=False)
    assert [event.seq for event in records] == list(range(1, 2_003))
    assert all(event.type != "type:1" for event in read(run.folder, strict=False))
    assert any("its header is lost; assumed is that of segment" in warning for warning in records.warnings)
    (stream,) = summarize(run.folder).streams
    assert stream.missing == 0


def test_a_file_that_vanishes_while_others_are_read_is_told(tmp_path):
    options = RecordOptions(segment_bytes=8_000, frame_bytes=2_000, compact=False)
    with esper_telemetry.start_run(tmp_path, name="m", run_id="m", record=options) as run:
        for number in range(2_000):
            run.emit(training_pb2.ScalarLogged, name=f"n{number * 7919 % 1000}", value=number**0.5)
            if number % 100 == 0:
                run.flush()
    paths = sorted(run.folder.iterdir())
    records = read(run.folder)
    seen = []
    for event in records:
        seen.append(event.seq)
        if event.seq == 1:
            paths[1].unlink()
    lost = set(range(1, 2_003)) - set(seen)
    assert lost
    assert f"numbers {min(lost):,} to {max(lost):,} were in it and are missing" in " ".join(records.warnings)


def test_a_file_that_its_writer_has_just_begun_reads_as_a_run_without_events_yet(folder):
    (good,) = folder.glob("*-000001.esr.zst")
    content = good.read_bytes()
    good.unlink()
    file = AppendFile(good)
    try:
        for what in (folder, good):
            begun = read(what)
            assert list(begun) == []
            assert begun.warnings == []
            assert "has just begun" in begun.notes[0]
        tail = Tail(folder, Filter())
        assert tail.last(5) == []
        with pytest.raises(RecordError, match="has just begun"):
            gather(folder)
        assert esper_telemetry.table(folder, "scalar.logged").num_rows == 0
        following = tail.follow(sleep=lambda _: file.append(content) if not file.size else None)
        (first, *_) = next(following)
        assert first.seq == 1
        assert read(folder).notes == []
    finally:
        file.close()


def test_an_empty_file_without_a_writer_is_no_record(tmp_path):
    path = tmp_path / "main-r0-20261129T000000Z-00000000-000001.esr.zst"
    AppendFile(path).close()
    with pytest.raises(NotARecordError, match="it is empty"):
        read(path)


def test_a_begun_file_beside_a_whole_one_is_a_note(folder):
    file = AppendFile(sibling(folder))
    try:
        records = read(folder)
        assert len(list(records)) > 0
        assert records.warnings == []
        assert "has just begun" in records.notes[0]
    finally:
        file.close()


def test_two_processes_that_wrote_as_one_rank_are_named(tmp_path):
    code = (
        "import sys, esper_telemetry as et\n"
        "with et.start_run(sys.argv[1], name='shared', run_id='shared') as run:\n"
        "    print('open', flush=True); sys.stdin.readline()\n"
        "    run.emit(et.events.ScalarLogged, name='loss', value=1.0)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "open\n"
    second = subprocess.run(command, input="\n", capture_output=True, text=True, check=True)
    first.communicate("\n")
    assert first.returncode == 0
    assert "still being written by process" in second.stderr
    records = read(tmp_path / "shared")
    assert len([event for event in records if event.type == "scalar.logged"]) == 2
    (note,) = records.notes
    assert "2 processes wrote as rank 0" in note
    assert f"{first.pid} on " in note
    assert not records.warnings
