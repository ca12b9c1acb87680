"""Sealed segments become small beside the streams: what is durable, acked and read stays what it was."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time

import pytest

import esper_telemetry as et
from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.schema_check import SchemaCheck
from esper_telemetry.collector.subscription import SegmentCursor
from esper_telemetry.recordfile import RecordReader, verify
from esper_telemetry.recordfile.compaction import compact_file, rewrite
from esper_telemetry.recordfile.reader import PayloadReader
from esper_telemetry.recordfile.selection import EVERYTHING
from esper_telemetry.storage.compactor import SegmentCompactor
from esper_telemetry.storage.engine import Inspect, PutFrame, Replace, Seal
from esper_telemetry.storage.file_engine import FileEngine
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.producer_files import ProducerFiles
from esper_telemetry.storage.recovery import recover_producer
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
        with RecordReader(path) as reader:
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


def test_a_segment_that_was_replaced_by_us_is_not_missed(tmp_path, produced):
    files = files_with_a_sealed_segment(tmp_path, produced)
    (segment,) = files.published
    done = []
    files.apply(Replace(rewrite(segment.path), lambda: done.append(1)))
    files.apply(Inspect())
    files.apply(files.claim())
    assert (files.failed, files.lost, done) == (None, [], [1])
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
    found = rewrite(path)
    path.unlink()
    files.apply(Replace(found, lambda: None))
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
        files.apply(Replace(rewrite(segment.path), lambda: None))
    while frames := cursor.read():
        found += frames
    reader = PayloadReader("stream")
    frames = [reader.read_content(one.batch.payload, EVERYTHING) for one in found if one.HasField("batch")]
    seqs = [one.seq for frame in frames for one in frame.events]
    seqs += [seq for frame in frames for block in frame.blocks for seq in block.seqs]
    assert sorted(seqs) == list(range(1, produced.last_seq + 1))


def test_a_process_that_is_killed_leaves_the_segment_and_another_one_goes_on(tmp_path, produced):
    class Owner:
        found, tries = [], 0

        def replace(self, key, found):
            self.found.append(found.replace())

        def tried(self, key):
            self.tries += 1

    files = files_with_a_sealed_segment(tmp_path, produced)
    path, owner = files.published[0].path, Owner()
    compactor = SegmentCompactor(owner)
    compactor.add(files.key, path)
    wait_until(lambda: compactor._process is not None)
    os.kill(compactor._process.pid, signal.SIGKILL)
    wait_until(lambda: owner.tries or owner.found)
    compactor.add(files.key, path)
    wait_until(lambda: owner.found)
    compactor.stop()
    assert frame_counts(path.parent) == [1]
    assert seqs(path.parent) == list(range(1, produced.last_seq + 1))


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
