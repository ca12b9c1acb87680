"""A compaction is killed at every call of the system that it makes, a compacted file is cut and changed everywhere."""

from __future__ import annotations

import os
import random
import signal
import sys

import pytest

from esper_telemetry.errors import RecordError
from esper_telemetry.recordfile import RecordReader, StreamFollower, follow, full_frames, recover, verify
from esper_telemetry.recordfile.compaction import compact_file


def seqs(path) -> list[int]:
    with RecordReader(path) as reader:
        return [event.seq for event in reader.events()]


def die_at(call: int) -> None:
    """Have this process killed before or after one of its calls of the system."""
    seen = 0

    def look(frame, event, called):
        nonlocal seen
        if event in ("c_call", "c_return") and getattr(called, "__module__", "") == "posix":
            seen += 1
            if seen == call:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(look)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process that is killed")
def test_killed_at_any_call_it_leaves_one_whole_file_and_nothing_that_stays(records):
    path = records.write(frames=12, per_frame=3)
    original, size = path.read_bytes(), path.stat().st_size
    outcomes = set()
    for call in range(1, 2000):
        path.write_bytes(original)
        child = os.fork()
        if not child:
            die_at(call)
            compact_file(path, force=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        outcomes.add(path.stat().st_size < size)
        assert seqs(path) == list(range(1, 37))
        assert verify(path).good
        if os.WIFEXITED(status):
            break
        compact_file(path, force=True)  # the next one
        assert [one.name for one in path.parent.iterdir()] == [path.name]
        assert seqs(path) == list(range(1, 37))
    assert call > 30, "it makes more calls than that"
    assert outcomes == {False, True}


def test_a_follower_gets_everything_once_while_files_are_replaced_under_it(tmp_path, records):
    rng = random.Random(2)
    for turn in range(4):
        folder = tmp_path / f"run{turn}"
        folder.mkdir()
        paths, last = [], 0
        for segment in range(1, 5):
            path = folder / f"main-r0-20251009T085320Z-00010203-{segment:06d}.esr.zst"
            written = records.write(
                frames=40, per_frame=3, segment=segment, previous_last_seq=last, file_id=bytes([segment]) * 16
            )
            written.rename(path)
            paths.append(path)
            last += 120
        follower, found = StreamFollower(paths[0]), []
        while not follower.finished:
            found += [event.seq for one in follower.poll() for event in one.events]
            if paths and rng.random() < 0.7:
                assert not compact_file(paths.pop(rng.randrange(len(paths)))).kept
        follower.close()
        for path in paths:
            compact_file(path)
        assert found == list(range(1, 481))
        assert [event.seq for one in follow(folder) for event in one.events] == found


@pytest.fixture
def compacted(records, small_types, monkeypatch):
    """A small compacted file of several frames."""
    monkeypatch.setattr(full_frames, "MOST_EVENTS", 20)
    path = records.write(frames=20, per_frame=4, types=small_types)
    assert not compact_file(path, force=True).kept
    return path


def test_cut_anywhere_it_holds_the_frames_before_and_nothing_else(compacted):
    data = compacted.read_bytes()
    ends = [frame.end for frame in RecordReader(data).frames()]
    assert len(ends) == 4
    for length in range(len(data)):
        try:
            with RecordReader(data[:length]) as reader:
                found = [event.seq for event in reader.events()]
        except RecordError:
            found = []
        assert found == list(range(1, 1 + 20 * sum(end <= length for end in ends))), length


def test_changed_anywhere_it_gives_no_wrong_event(compacted, records):
    data = compacted.read_bytes()
    right = {event.seq: event for event in RecordReader(data).events()}
    rng = random.Random(4)
    for number in range(400):
        changed = bytearray(data)
        for _ in range(rng.choice([1, 1, 1, 3])):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            with RecordReader(bytes(changed)) as reader:
                found = list(reader.events(on_damage=lambda _: None))
        except RecordError:
            continue
        assert all(right[event.seq] == event for event in found)
        if number % 20 == 0:
            try:
                result = recover(bytes(changed), records.path())
            except RecordError:  # header and its descriptor are damaged: a reader finds both by the footer, it does not
                continue
            assert all(right[event.seq] == event for event in RecordReader(result.output).events())
