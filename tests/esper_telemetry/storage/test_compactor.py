"""Sealed segments become small beside the streams: what is durable, acked and read stays what it was."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

import esper_telemetry as et
from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.schema_check import SchemaCheck
from esper_telemetry.collector.subscription import SegmentCursor
from esper_telemetry.errors import NotARecordError
from esper_telemetry.recordfile import RecordReader, verify
from esper_telemetry.recordfile.compaction import compact_file, rewrite
from esper_telemetry.recordfile.reader import PayloadReader
from esper_telemetry.recordfile.selection import EVERYTHING
from esper_telemetry.storage.compactor import SegmentCompactor
from esper_telemetry.storage.engine import Inspect, PutFrame, Replace, Seal
from esper_telemetry.storage.file_engine import FileEngine
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.object_archive import MANIFEST_NAME
from esper_telemetry.storage.producer_files import ProducerFiles
from esper_telemetry.storage.recovery import recover_producer
from esper_telemetry.storage.segment_index import SegmentIndex
from esper_telemetry.uplink.delivery import PushOptions
from esper_telemetry.uplink.endpoint import Endpoint
from esper_telemetry.uplink.sender import push
from tests.esper_telemetry.collector.publisher import Produced
from tests.esper_telemetry.collectorprocess import CollectorProcess, wait_until

FRAMES, PER_FRAME = 60, 5


@pytest.fixture(scope="module")
def produced():
    return Produced(frames=FRAMES, per_frame=PER_FRAME)


def key_of(produced) -> ProducerKey:
    return ProducerKey(produced.run_id, produced.producer_id)


def frame_counts(folder) -> list[int]:
    counts = []
    for path in sorted(folder.glob("*.esr.zst")):
        with contextlib.suppress(NotARecordError), RecordReader(path) as reader:  # one that begins is empty at first
            counts.append(len(list(reader.frames())))
    return counts


def seqs(folder) -> list[int]:
    found = []
    for path in sorted(folder.glob("*.esr.zst")):
        with RecordReader(path) as reader:
            found += [event.seq for event in reader.events()]
    return found


def files_with_a_sealed_segment(root, produced, segments: int = 1) -> ProducerFiles:
    files = ProducerFiles(root, key_of(produced))
    files.apply(files.claim())
    files.apply(SchemaCheck(CollectorLimits()).check(produced.schema, files.key))
    for part in range(segments):
        for number in range(part * FRAMES // segments, (part + 1) * FRAMES // segments):
            files.apply(PutFrame(produced.raw[number], produced.refs[number].descriptor))
        files.apply(Seal())
    return files


def test_an_engine_compacts_what_it_has_sealed_and_goes_on(tmp_path, produced):
    async def scenario():
        engine = FileEngine(tmp_path, compacts=True)
        reports = []
        await engine.start(reports.append)
        lane = (await engine.restore(key_of(produced))).lane
        engine.claim(lane, 1)
        engine.put(lane, SchemaCheck(CollectorLimits()).check(produced.schema, lane.key))
        half = FRAMES // 2
        for number in range(half):
            engine.put(lane, PutFrame(produced.raw[number], produced.refs[number].descriptor))
        engine.put(lane, Seal())
        folder = tmp_path / produced.run_id
        while not (folder.is_dir() and frame_counts(folder) == [1]):  # noqa: ASYNC110 - another process works
            await asyncio.sleep(0.02)
        engine.put(lane, Inspect())
        for number in range(half, FRAMES):
            engine.put(lane, PutFrame(produced.raw[number], produced.refs[number].descriptor))
        engine.put(lane, Seal())
        while frame_counts(folder) != [1, 1]:  # noqa: ASYNC110 - another process works
            await asyncio.sleep(0.02)
        while lane.stored_bytes != sum(path.stat().st_size for path in folder.glob("*.esr.zst")):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await engine.stop(1)
        return reports

    reports = asyncio.run(asyncio.wait_for(scenario(), 60))
    progress = [each for cycle in reports for each in cycle.progress]
    assert not any(each.error or each.lost or each.rewound for each in progress)
    assert progress[-1].durable_seq == produced.last_seq
    folder = tmp_path / produced.run_id
    assert seqs(folder) == list(range(1, produced.last_seq + 1))
    assert all(verify(path).good for path in folder.glob("*.esr.zst"))
    stored = recover_producer(folder, key_of(produced), [])
    assert stored.durable_seq == produced.last_seq
    assert not list(folder.glob(".*"))


def test_what_was_sealed_at_the_end_is_compacted_by_the_next_collector_and_its_producer_goes_on(tmp_path, produced):
    async def store(engine):
        await engine.start(lambda cycle: None)
        lane = (await engine.restore(key_of(produced))).lane
        engine.claim(lane, 1)
        engine.put(lane, SchemaCheck(CollectorLimits()).check(produced.schema, lane.key))
        for number in range(FRAMES):
            engine.put(lane, PutFrame(produced.raw[number], produced.refs[number].descriptor))
        while lane.numbers.durable_seq < produced.last_seq:  # noqa: ASYNC110 - the writer thread works
            await asyncio.sleep(0.02)
        await engine.stop(5)

    async def come_back(engine):
        await engine.start(lambda cycle: None)
        while frame_counts(tmp_path / produced.run_id) != [1]:  # noqa: ASYNC110 - another process works
            await asyncio.sleep(0.02)
        restored = await engine.restore(key_of(produced))
        await engine.stop(1)
        return restored.lane.numbers.durable_seq

    asyncio.run(asyncio.wait_for(store(FileEngine(tmp_path, compacts=True)), 60))
    assert frame_counts(tmp_path / produced.run_id) == [FRAMES]
    assert asyncio.run(asyncio.wait_for(come_back(FileEngine(tmp_path, compacts=True)), 60)) == produced.last_seq
    assert seqs(tmp_path / produced.run_id) == list(range(1, produced.last_seq + 1))


def test_a_segment_that_was_replaced_by_us_is_not_missed(tmp_path, produced):
    files = files_with_a_sealed_segment(tmp_path, produced)
    (segment,) = files.published
    done = []
    files.apply(Replace(rewrite(segment.path), lambda what: done.append(what.saved)))
    files.apply(Inspect())
    files.apply(files.claim())
    assert (files.failed, files.lost, done) == (None, [], [segment.size - files.published[0].size])
    assert files.published[0].size == segment.path.stat().st_size < segment.size
    assert files.numbers.durable_seq == produced.last_seq


def test_a_segment_that_somebody_else_replaced_is_found_by_its_header(tmp_path, produced):
    """`compact` by hand, on the folder of a collector that was started meanwhile."""
    files = files_with_a_sealed_segment(tmp_path, produced)
    compact_file(files.published[0].path)
    files.apply(files.claim())
    assert (files.failed, files.lost) == (None, [])
    assert files.numbers.durable_seq == produced.last_seq
    assert verify(files.published[0].path).good


def test_what_is_not_there_any_more_does_not_come_back(tmp_path, produced):
    files = files_with_a_sealed_segment(tmp_path, produced)
    path = files.published[0].path
    found, gone = rewrite(path), []
    path.unlink()
    files.apply(Replace(found, lambda done: gone.append(done.kept)))
    assert gone != [""]
    assert not path.exists()
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("at", [0, 1, 2, 5])
def test_a_reader_in_the_middle_of_a_segment_misses_nothing(tmp_path, produced, at, monkeypatch):
    monkeypatch.setattr("esper_telemetry.collector.subscription._TURN_BYTES", 500)
    files = files_with_a_sealed_segment(tmp_path, produced, segments=3)
    cursor, found = SegmentCursor(files, frozenset(), 0), []
    for _ in range(at):
        found += cursor.read()
    for segment in files.published:
        files.apply(Replace(rewrite(segment.path), lambda _: None))
    while frames := cursor.read():
        found += frames
    reader = PayloadReader("stream")
    frames = [reader.read_content(one.batch.payload, EVERYTHING) for one in found if one.HasField("batch")]
    seqs = [one.seq for frame in frames for one in frame.events]
    seqs += [seq for frame in frames for block in frame.blocks for seq in block.seqs]
    assert sorted(seqs) == list(range(1, produced.last_seq + 1))


class Owner:
    """Lets new files take their place, at once."""

    def __init__(self) -> None:
        self.found, self.tries = [], []

    def replace(self, key, found):
        self.found.append(found.replace())

    def tried(self, key, path, *, failed):
        self.tries.append(failed)


def test_whatever_fails_costs_one_segment_its_compaction_and_is_counted(tmp_path, produced, caplog):
    class Broken(Owner):
        def replace(self, key, found):
            if not self.tries:
                found.discard("")
                raise ZeroDivisionError("a bug")
            super().replace(key, found)

    files = files_with_a_sealed_segment(tmp_path, produced, segments=2)
    owner = Broken()
    compactor = SegmentCompactor(owner)
    for segment in files.published:
        compactor.add(files.key, segment.path)
    wait_until(lambda: owner.found)
    compactor.stop()
    assert owner.tries == [True]
    assert [done.path for done in owner.found] == [files.published[1].path]
    assert "ZeroDivisionError: a bug" in caplog.text
    assert seqs(tmp_path / produced.run_id) == list(range(1, produced.last_seq + 1))


def test_segments_that_several_threads_offer_at_once_are_compacted_one_after_the_other(tmp_path, produced):
    files = files_with_a_sealed_segment(tmp_path, produced, segments=4)
    owner = Owner()
    compactor = SegmentCompactor(owner)
    together = threading.Barrier(4)

    def offer(segment) -> None:
        together.wait()
        compactor.add(files.key, segment.path)

    threads = [threading.Thread(target=offer, args=(segment,)) for segment in files.published]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(owner.found) == 4)
    assert [one.name for one in threading.enumerate()].count("collector-compactor") == 1
    compactor.stop()
    assert not any(done.kept for done in owner.found)
    assert frame_counts(tmp_path / produced.run_id) == [1] * 4


def test_an_engine_counts_what_was_compacted_and_what_failed(tmp_path, produced, monkeypatch):
    counted = []

    async def scenario():
        engine = FileEngine(tmp_path, on_compacted=counted.append, compacts=True)
        await engine.start(lambda cycle: None)
        lane = (await engine.restore(key_of(produced))).lane
        engine.claim(lane, 1)
        engine.put(lane, SchemaCheck(CollectorLimits()).check(produced.schema, lane.key))
        for part in range(2):
            for number in range(part * FRAMES // 2, (part + 1) * FRAMES // 2):
                engine.put(lane, PutFrame(produced.raw[number], produced.refs[number].descriptor))
            engine.put(lane, Seal())
            while len(counted) <= part:  # noqa: ASYNC110 - another process works
                await asyncio.sleep(0.02)
            monkeypatch.setattr("esper_telemetry.storage.compactor._LONGEST_S", 0.0)
        await engine.stop(1)

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert (counted[0].segments, counted[0].failed) == (1, 0)
    assert counted[0].saved_bytes > 0
    assert sum(each.failed for each in counted[1:]) == 1
    assert seqs(tmp_path / produced.run_id) == list(range(1, produced.last_seq + 1))


def test_a_process_that_is_killed_leaves_the_segment_and_another_one_goes_on(tmp_path, produced):
    files = files_with_a_sealed_segment(tmp_path, produced)
    path, owner = files.published[0].path, Owner()
    compactor = SegmentCompactor(owner)
    compactor.add(files.key, path)
    wait_until(lambda: compactor._process is not None)
    os.kill(compactor._process.pid, signal.SIGKILL)
    wait_until(lambda: owner.tries or owner.found)
    assert owner.tries in ([], [True])
    compactor.add(files.key, path)
    wait_until(lambda: owner.found)
    compactor.stop()
    assert frame_counts(path.parent) == [1]
    assert seqs(path.parent) == list(range(1, produced.last_seq + 1))


def test_what_a_killed_collector_left_open_is_compacted_though_its_producer_never_returns(tmp_path):
    collector = CollectorProcess(tmp_path / "collected", compact=True).start()
    trainer = (
        "import esper_telemetry as et, sys, time\n"
        "run = et.start_run(sys.argv[1], name='r', run_id='left', collector=sys.argv[2])\n"
        "for step in range(10**9):\n"
        "    run.emit(et.events.ScalarLogged, name='loss', value=1 / (step + 1), step=step)\n"
        "    time.sleep(0.01)\n"
    )
    command = [sys.executable, "-c", trainer, str(tmp_path / "local"), collector.address]
    process = subprocess.Popen(command, start_new_session=True)
    folder = collector.folder / "left"
    try:
        wait_until(lambda: folder.is_dir() and sum(frame_counts(folder)) > 8)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the trainer and its agent: nothing of it comes back
        process.wait()
        collector.kill()
    (before,) = frame_counts(folder)
    had = seqs(folder)
    try:
        collector.start()
        wait_until(lambda: frame_counts(folder)[0] < before)
        collector.stop()
    finally:
        collector.kill()
    assert seqs(folder) == had == list(range(1, had[-1] + 1))
    assert all(verify(path).good for path in folder.glob("*.esr.zst"))


def test_a_list_of_segments_outlives_the_collector_and_is_worked_off_once(tmp_path, produced):
    files = files_with_a_sealed_segment(tmp_path, produced)
    (segment,) = files.published

    async def start_and_stop():
        engine = FileEngine(tmp_path, compacts=True)
        await engine.start(lambda cycle: None)
        tries = 0
        while engine._next_to_compact() is not None:
            tries += 1
            await asyncio.sleep(0.02)
        await engine.stop(1)
        return tries

    index = SegmentIndex(tmp_path)
    index.await_compaction(files.key, segment.path.parent.name, [segment.path.name, "never-there.esr.zst"])
    index.close()
    assert asyncio.run(asyncio.wait_for(start_and_stop(), 60)) > 0
    assert frame_counts(segment.path.parent) == [1]
    assert asyncio.run(asyncio.wait_for(start_and_stop(), 60)) == 0
    assert seqs(segment.path.parent) == list(range(1, produced.last_seq + 1))


def test_a_collector_that_is_killed_while_it_compacts_has_everything_once(tmp_path):
    rng = random.Random(3)
    collector = CollectorProcess(tmp_path / "collected", compact=True).start()
    producers = [Producing(tmp_path / "runs", number) for number in range(4)]
    try:
        for _ in range(6):
            for each in producers:
                push([each.path], Endpoint(collector.address), PushOptions(give_up_s=30), lambda _: None)
            time.sleep(rng.uniform(0, 1.0))
            collector.kill()
            collector.start()
        for each in producers:
            (report,) = push([each.path], Endpoint(collector.address), PushOptions(give_up_s=30), lambda _: None)
            assert (report.error, report.skipped) == ("", {})
        collector.stop()
    finally:
        collector.kill()
    for each in producers:
        folder = collector.folder / each.run_id
        assert seqs(folder) == list(range(1, each.last_seq + 1))
        assert all(verify(path).good for path in folder.glob("*.esr.zst"))


def test_an_archive_has_each_compacted_segment_once_and_as_it_is_now(tmp_path):
    """Killed at any moment between sealing, compaction, upload and the manifest, and started again."""
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    rng = random.Random(5)
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    collector = CollectorProcess(tmp_path / "collected", "--archive", f"file://{bucket}", compact=True).start()
    producers = [Producing(tmp_path / "runs", number) for number in range(3)]
    try:
        for _ in range(5):
            for each in producers:
                push([each.path], Endpoint(collector.address), PushOptions(give_up_s=30), lambda _: None)
            time.sleep(rng.uniform(0, 4.0))  # an index lists what was sealed 2.5 s after it was
            collector.kill()
            collector.start()
        for each in producers:
            push([each.path], Endpoint(collector.address), PushOptions(give_up_s=30), lambda _: None)
        runs = [collector.folder / each.run_id for each in producers]
        wait_until(lambda: all(is_archived(folder, bucket / folder.name) for folder in runs), 60)
        collector.stop()
    finally:
        collector.kill()
    for each in producers:
        folder, archived = collector.folder / each.run_id, bucket / each.run_id
        assert is_archived(folder, archived), "what is there after the end is what was archived"
        assert {path.name for path in archived.iterdir()} == {path.name for path in folder.iterdir()} | {MANIFEST_NAME}
        assert seqs(archived) == seqs(folder) == list(range(1, each.last_seq + 1))
        assert all(verify(path).good for path in archived.glob("*.esr.zst"))
    assert min(count for each in producers for count in frame_counts(bucket / each.run_id)) < 5, "none was compacted"


def is_archived(folder, archived) -> bool:
    """Tell whether the manifest lists the segments of a run as they are, and the objects are the same bytes."""
    if not (archived / MANIFEST_NAME).exists():
        return False
    listed = {one["name"]: one["sha256"] for one in json.loads((archived / MANIFEST_NAME).read_text())["segments"]}
    here = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.esr.zst")}
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in archived.glob("*.esr.zst")}
    return listed == here == there


class Producing:
    """A record of many small frames, ready to be pushed."""

    def __init__(self, root, number) -> None:
        options = et.RecordOptions(compact=False)
        with et.start_run(root, name="p", run_id=f"p{number}", record=options) as run:
            for step in range(80):
                run.emit(et.events.ScalarLogged, name="n", value=float(step), step=step)
                run.flush()
        self.run_id = run.folder.name
        (self.path,) = run.folder.glob("*.esr.zst")
        self.last_seq = 82
