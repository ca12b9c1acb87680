"""The index file: what survives a kill, damage and a disk that takes nothing."""

import os
import signal
import sqlite3
import subprocess
import sys

from esper_telemetry.storage.segment_index import INDEX_NAME, IndexedSegment, SegmentIndex

WRITER = """
import sys
from pathlib import Path
from esper_telemetry.storage.segment_index import IndexedSegment, SegmentIndex

root = Path(sys.argv[1])
index = SegmentIndex(root)
for number in range(1_000_000):
    folder = f"run-{number % 50}"
    name = f"{number}.esr.zst"
    (root / folder).mkdir(exist_ok=True)
    (root / folder / name).touch()
    index.put(folder, [IndexedSegment(name, b"p" * 16, number, number, number, b"f" * 16, 0, 0, 0)])
    index.settle(folder, number + 1)
    print(number, flush=True)
"""


def segment(name="a.esr.zst", **changes) -> IndexedSegment:
    return IndexedSegment(name, b"p" * 16, 1, 1, 30, b"f" * 16, 1000, 5, 7)._replace(**changes)


def make_run(root, name="run", files=("a.esr.zst",)):
    (root / name).mkdir()
    for file in files:
        (root / name / file).touch()


def test_what_was_recorded_is_there_after_a_close(tmp_path):
    make_run(tmp_path, files=("a.esr.zst", "b.esr.zst"))
    index = SegmentIndex(tmp_path)
    index.put("run", [segment(), segment("b.esr.zst", segment=2)])
    index.settle("run", 9)
    index.drop("run", ["b.esr.zst"])
    index.close()
    again = SegmentIndex(tmp_path)
    assert again.settled() == {"run": 9}
    assert again.settled_at("run") == 9
    assert again.segments("run") == {"a.esr.zst": segment()}
    again.drop_run("run")
    assert not again.settled()
    assert not again.segments("run")
    assert not again.take_problem()
    again.close()


def test_a_killed_process_leaves_an_index_with_all_that_it_committed(tmp_path):
    for round_number in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env={**os.environ}
        )
        said = -1
        for line in process.stdout:
            said = int(line)
            if said >= 150 + 37 * round_number:
                break
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        process.wait()
        process.stdout.close()
        said = int(rest[-1]) if rest else said
        index = SegmentIndex(tmp_path)
        assert not index.take_problem()
        numbers = {row.segment for number in range(50) for row in index.segments(f"run-{number}").values()}
        assert numbers >= set(range(said + 1)), "the next one may be there too"
        index.close()


def test_an_index_that_is_damaged_is_replaced_by_an_empty_one_and_says_so(tmp_path):
    make_run(tmp_path)
    index = SegmentIndex(tmp_path)
    index.put("run", [segment()])
    index.close()
    path = tmp_path / INDEX_NAME
    whole = path.read_bytes()
    for damaged in (b"", b"no database at all" * 100, bytes(len(whole)), whole[: len(whole) // 2], whole[:4096]):
        path.write_bytes(damaged)
        again = SegmentIndex(tmp_path)
        assert not again.segments("run")
        assert "cannot be used" in again.take_problem()
        again.put("run", [segment()])
        assert again.segments("run")
        assert not again.take_problem(), "a problem is told once"
        again.close()


def test_an_index_of_another_version_is_made_anew(tmp_path):
    SegmentIndex(tmp_path).close()
    with sqlite3.connect(tmp_path / INDEX_NAME) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    index = SegmentIndex(tmp_path)
    assert "version 99, not 2" in index.take_problem()
    index.close()


def test_where_no_file_can_be_made_it_is_kept_in_memory(tmp_path):
    make_run(tmp_path)
    (tmp_path / INDEX_NAME).mkdir()
    index = SegmentIndex(tmp_path)
    assert "kept in memory" in index.take_problem()
    index.put("run", [segment()])
    assert index.segments("run") == {"a.esr.zst": segment()}
    index.close()


def test_what_is_deleted_meanwhile_is_not_recorded(tmp_path):
    make_run(tmp_path)
    index = SegmentIndex(tmp_path)
    index.put("run", [segment(), segment("gone.esr.zst")])
    index.settle("gone", 5)
    assert list(index.segments("run")) == ["a.esr.zst"]
    assert not index.settled()
    index.close()


def test_a_segment_is_the_same_by_its_numbers_and_another_file_by_size_time_or_inode(tmp_path):
    path = tmp_path / "a.esr.zst"
    path.write_bytes(bytes(10))
    status = path.stat()
    row = segment(size=10, mtime_ns=status.st_mtime_ns, inode=status.st_ino)
    assert row.is_of(status)
    assert not row._replace(size=11).is_of(status)
    assert not row._replace(mtime_ns=1).is_of(status)
    assert row.holds_what(row._replace(size=3, file_id=b"c" * 16, generation=1))
    assert not row.holds_what(row._replace(last_seq=29))
