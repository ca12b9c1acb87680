from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import esper_telemetry as et
from esper_telemetry.recordfile import RecordReader, verify
from esper_telemetry.sinks.compacting import compact_run

if TYPE_CHECKING:
    from pathlib import Path


def record(folder: Path, *, compact: bool = True, segment_bytes: int = 1 << 28) -> Path:
    options = et.RecordOptions(compact=compact, segment_bytes=segment_bytes)
    with et.start_run(folder, name="slow", record=options) as run:
        for number in range(60):
            run.emit(et.events.ScalarLogged, name="n", value=float(number), step=number)
            run.flush()
    return run.folder


def frames(folder: Path) -> list[int]:
    return [len(list(RecordReader(path).frames())) for path in sorted(folder.glob("*.esr.zst"))]


def test_a_run_that_is_closed_is_small_and_reads_the_same(tmp_path):
    small, large = record(tmp_path), record(tmp_path, compact=False)
    assert frames(small) == [1]
    assert frames(large)[0] > 50
    told = [[(event.type, event.seq, event.data.get("value")) for event in et.read(one)] for one in (small, large)]
    assert told[0] == told[1]
    assert all(verify(path).good for path in small.glob("*.esr.zst"))


def test_every_segment_of_the_stream_is(tmp_path):
    folder = record(tmp_path, segment_bytes=9_000)
    assert len(frames(folder)) > 1
    assert set(frames(folder)[:-1]) == {1}
    assert [event.seq for event in et.read(folder)] == list(range(1, 63))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children that are forked")
def test_the_streams_of_its_children_are(tmp_path):
    with et.start_run(tmp_path, name="parent") as run:
        child = os.fork()
        if not child:
            for number in range(60):
                run.emit(et.events.ScalarLogged, name="n", value=float(number), step=number)
                run.flush()
            run.close()
            os._exit(0)
        os.waitpid(child, 0)
    (path,) = run.folder.glob("worker-*.esr.zst")
    assert len(list(RecordReader(path).frames())) == 1
    assert verify(path).good


def test_nothing_is_begun_without_time_for_it(tmp_path):
    folder = record(tmp_path, compact=False)
    before = frames(folder)
    for processor_s, wall_s in ((0.0, 60.0), (60.0, 0.0)):
        compact_run(folder, folder.glob("*.esr.zst"), 0, processor_s=processor_s, wall_s=wall_s)
        assert frames(folder) == before
    compact_run(folder, folder.glob("*.esr.zst"), 0, processor_s=60.0, wall_s=60.0)
    assert frames(folder) == [1]


def test_a_folder_that_is_gone_costs_nothing(tmp_path):
    compact_run(tmp_path / "x", [tmp_path / "x" / "y.esr.zst"], 0, processor_s=1.0, wall_s=1.0)
