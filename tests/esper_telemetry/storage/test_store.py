import itertools
import os
import queue
import random
import threading

import pytest

from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.schema_check import SchemaCheck
from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile import RecordReader, Skip, SkipReason
from esper_telemetry.recordfile.append import sync_folder
from esper_telemetry.recordfile.verification import verify
from esper_telemetry.storage import producer_files
from esper_telemetry.storage.engine import Expire, Inspect, PutFrame, PutSkip, Seal
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.producer_files import ProducerFiles
from esper_telemetry.storage.recovery import recover
from esper_telemetry.storage.segment_writer import SegmentWriter
from esper_telemetry.storage.store import Store
from tests.esper_telemetry.collector.publisher import Produced, stored
from tests.esper_telemetry.recordfile.test_append import open_files
from tests.esper_telemetry.storage.test_segment_writer import files_end_at

PER_FRAME = 20
_NUMBERS = itertools.count(1)


class Bench:
    """A store with one or more producers.

    Attributes:
        cycles: reports, in order.
    """

    def __init__(self, root) -> None:
        self.root = root
        self.cycles: queue.Queue = queue.Queue()
        self.store = Store(self.cycles.put)
        self.store.start()

    def files(self, produced, stored=None) -> ProducerFiles:
        key = ProducerKey(produced.run_id, produced.producer_id)
        files = ProducerFiles(self.root, key, stored)
        self.store.put(files, SchemaCheck(CollectorLimits()).check(produced.schema, key))
        return files

    def put(self, files, produced, numbers) -> None:
        for number in numbers:
            self.store.put(files, PutFrame(produced.raw[number], produced.refs[number].descriptor))

    def settled(self) -> None:
        """Wait until everything that was put has been dealt with."""
        marker = ProducerFiles(self.root, ProducerKey("marker", bytes([next(_NUMBERS)]) * 16))
        self.store.put(marker, Seal())
        self.until(lambda progress: progress.key == marker.key)

    def until(self, wanted):
        """Return the first progress that `wanted` holds for."""
        while True:
            for progress in self.cycles.get(timeout=30).progress:
                if wanted(progress):
                    return progress


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.store.stop(5)


@pytest.fixture(scope="module")
def produced():
    return Produced(frames=8, per_frame=PER_FRAME)


def test_frames_are_stored_as_they_are_and_reported_when_they_are_durable(bench, produced):
    files = bench.files(produced)
    bench.put(files, produced, range(8))
    progress = bench.until(lambda p: p.durable_seq == produced.last_seq)
    assert progress.error is None
    assert stored(bench.root, produced) == produced.raw
    assert files.published[-1].size == files.published[-1].path.stat().st_size


def test_payload_bytes_are_reported_once_each(bench, produced):
    files = bench.files(produced)
    bench.put(files, produced, range(8))
    seen = 0
    while seen < sum(map(len, produced.raw)):
        seen += sum(progress.payload_bytes for progress in bench.cycles.get(timeout=30).progress)
    assert seen == sum(map(len, produced.raw))


def test_the_syncs_of_a_seal_are_reported_with_the_frames_it_made_durable(tmp_path, produced):
    cycles: queue.Queue = queue.Queue()
    store = Store(cycles.put)
    files = ProducerFiles(tmp_path, ProducerKey(produced.run_id, produced.producer_id))
    for item in (
        SchemaCheck(CollectorLimits()).check(produced.schema, files.key),
        PutFrame(produced.raw[0], produced.refs[0].descriptor),
        Seal(),
    ):
        store.put(files, item)
    store.start()  # all three are one cycle, as those of a short run are
    cycle = cycles.get(timeout=30)
    store.stop(5)
    assert [progress.durable_seq for progress in cycle.progress] == [PER_FRAME]
    assert len(cycle.sync_seconds) == 2  # of the frames, then of the footer behind them


def test_a_schema_that_contradicts_and_a_seal_each_end_a_segment(bench, produced):
    files = bench.files(produced)
    bench.put(files, produced, [0])
    put = SchemaCheck(CollectorLimits()).check(produced.schema, files.key)
    put.header.types[0].full_name = "esper_telemetry.v1.Context"
    bench.store.put(files, put)
    bench.put(files, produced, [1])
    bench.store.put(files, Seal())
    bench.put(files, produced, [2])
    bench.store.put(files, PutSkip(Skip(61, 100, SkipReason.SPOOL_LOST)))
    bench.until(lambda p: p.durable_seq == 100)
    bench.store.stop(5)
    paths = sorted(bench.root.glob("*/*.esr.zst"))
    assert len(paths) == 3
    previous = b""
    for number, path in enumerate(paths):
        assert verify(path).good
        with RecordReader(path) as reader:
            assert reader.closed
            assert (reader.header.segment, reader.header.previous_last_seq) == (number + 1, number * PER_FRAME)
            assert reader.header.previous_file_id == previous
            previous = reader.header.file_id


def test_a_full_segment_is_followed_by_the_next(bench, produced, monkeypatch):
    monkeypatch.setattr(producer_files, "SEGMENT_FRAMES", 3)
    files = bench.files(produced)
    bench.put(files, produced, range(8))
    bench.until(lambda p: p.durable_seq == produced.last_seq)
    bench.store.stop(5)
    assert len(list(bench.root.glob("*/*.esr.zst"))) == 3
    assert stored(bench.root, produced) == produced.raw


def test_producers_whose_ids_start_alike_do_not_share_a_file(bench):
    one, other = (Produced(frames=1, producer_id=b"same" + bytes([n]) * 12) for n in (1, 2))
    for produced in (one, other):
        files = bench.files(produced)
        bench.put(files, produced, [0])
        bench.until(lambda p, files=files: p.key == files.key and p.durable_seq)
    bench.store.stop(5)
    assert stored(bench.root, one) == one.raw
    assert stored(bench.root, other) == other.raw


def test_a_failing_disk_fails_the_producer_until_it_is_told_to_retry(bench, produced):
    files = bench.files(produced)
    bench.put(files, produced, [0, 1])
    bench.until(lambda p: p.durable_seq == 2 * PER_FRAME)
    with files_end_at(100):
        bench.put(files, produced, [2, 3])
        failed = bench.until(lambda p: p.error is not None)
    assert failed.durable_seq == 2 * PER_FRAME
    bench.put(files, produced, [4])
    assert bench.until(lambda p: True).error is not None, "nothing is taken before a retry"
    bench.store.put(files, files.claim())
    bench.put(files, produced, range(2, 8))
    assert bench.until(lambda p: p.durable_seq == produced.last_seq).error is None
    bench.store.stop(5)
    assert stored(bench.root, produced) == produced.raw
    assert recover(bench.root).producers[files.key].durable_seq == produced.last_seq


def test_one_producer_that_fails_does_not_hold_up_another(bench, produced):
    good = Produced(frames=2)
    bad_files, good_files = bench.files(produced), bench.files(good)
    (bench.root / "blocker").write_text("")
    bad_files._folder = bench.root / "blocker"
    bench.put(bad_files, produced, [0])
    bench.put(good_files, good, [0, 1])
    reports = {}
    while len(reports) < 2 or not reports[good_files.key].durable_seq:
        reports |= {progress.key: progress for progress in bench.cycles.get(timeout=30).progress}
    assert reports[bad_files.key].error is not None
    assert reports[good_files.key].error is None


def test_a_store_goes_on_where_its_files_end(bench, produced):
    files = bench.files(produced)
    bench.put(files, produced, range(3))
    bench.until(lambda p: p.durable_seq == 3 * PER_FRAME)
    bench.store.stop(0)
    again = Bench(bench.root)
    found = recover(bench.root).producers[files.key]
    files = again.files(produced, found)
    assert files.numbers.durable_seq == 3 * PER_FRAME
    again.put(files, produced, range(3, 8))
    again.until(lambda p: p.durable_seq == produced.last_seq)
    again.store.stop(5)
    assert stored(bench.root, produced) == produced.raw


def test_random_failures_and_retries_leave_every_frame_once(bench, produced):
    rng = random.Random(3)
    files = bench.files(produced)
    done = 0
    for _ in range(60):
        count = rng.randrange(1, 3)
        wanted = list(range(done, min(done + count, 8)))
        if rng.random() < 0.5:
            with files_end_at(rng.choice([0, 100, 20_000])):
                bench.put(files, produced, wanted)
                bench.store.put(files, files.claim())
                bench.settled()
        else:
            bench.put(files, produced, wanted)
        bench.store.put(files, files.claim())
        bench.store.put(files, Seal())
        bench.settled()
        done = files.numbers.durable_seq // PER_FRAME
    bench.store.stop(5)
    assert stored(bench.root, produced) == produced.raw[:done]


def test_old_segments_are_deleted_and_the_last_one_keeps_the_watermark(bench, produced):
    files = bench.files(produced)
    for number in range(3):
        bench.put(files, produced, [number])
        bench.store.put(files, Seal())
    bench.settled()
    paths = [segment.path for segment in files.published]
    for path in (paths[0], paths[2]):
        os.utime(path, (1, 1))
    bench.store.put(files, Expire(before=1000))
    bench.settled()
    assert [path.exists() for path in paths] == [False, True, True]
    assert [segment.path for segment in files.published] == paths[1:]
    bench.store.stop(5)
    assert recover(bench.root).producers[files.key].durable_seq == 3 * PER_FRAME


def test_beyond_a_number_of_open_files_the_oldest_is_closed_and_opened_again(tmp_path, monkeypatch):
    monkeypatch.setattr("esper_telemetry.storage.store.MOST_OPEN_FILES", 3)
    bench = Bench(tmp_path)
    several = [Produced(frames=4, per_frame=PER_FRAME, producer_id=bytes([number]) * 16) for number in range(1, 9)]
    files = [bench.files(produced) for produced in several]
    for number in range(4):
        for each, produced in zip(files, several, strict=True):
            bench.put(each, produced, [number])
            bench.settled()
            assert sum(path.endswith(".esr.zst") and str(tmp_path) in path for path in open_files()) <= 3
    for each in files:
        bench.store.put(each, Inspect())
    bench.settled()
    assert sum(path.endswith(".esr.zst") and str(tmp_path) in path for path in open_files()) == 3, "looking closes none"
    assert [each.numbers.durable_seq for each in files] == [4 * PER_FRAME] * 8
    bench.store.stop(5)
    for produced in several:
        assert stored(tmp_path, produced) == produced.raw
    assert all(verify(path).closed for path in tmp_path.glob("*/*.esr.zst"))


def test_a_look_reports_on_those_alone_whose_files_are_not_all_there(bench):
    several = [Produced(frames=1, per_frame=PER_FRAME, producer_id=bytes([number]) * 16) for number in range(1, 6)]
    files = [bench.files(produced) for produced in several]
    for each, produced in zip(files, several, strict=True):
        bench.put(each, produced, [0])
    bench.settled()
    assert [each.numbers.durable_seq for each in files] == [PER_FRAME] * 5
    while not bench.cycles.empty():
        bench.cycles.get()
    files[3].published[0].path.unlink()
    bench.store.look(files)
    (progress,) = bench.cycles.get(timeout=30).progress
    assert (progress.key, progress.lost) == (files[3].key, ((1, PER_FRAME),))
    bench.store.look(files[:3])
    bench.settled()
    assert all(each.failed is None for each in files[:3])


def test_many_new_segments_have_their_folder_synced_once(tmp_path, monkeypatch):
    synced: list = []

    def sync(folder) -> None:
        synced.append(folder)
        sync_folder(folder)

    monkeypatch.setattr("esper_telemetry.storage.store.sync_folder", sync)
    monkeypatch.setattr("esper_telemetry.storage.producer_files.sync_folder", sync)
    several = [Produced(frames=1, per_frame=PER_FRAME, producer_id=bytes([number]) * 16) for number in range(1, 21)]
    cycles: queue.Queue = queue.Queue()
    store = Store(cycles.put)
    files = [ProducerFiles(tmp_path, ProducerKey(each.run_id, each.producer_id)) for each in several]
    for each, produced in zip(files, several, strict=True):
        store.put(each, SchemaCheck(CollectorLimits()).check(produced.schema, each.key))
        store.put(each, PutFrame(produced.raw[0], produced.refs[0].descriptor))
    store.start()  # all is one cycle, as when many producers send their first frames
    assert [progress.durable_seq for progress in cycles.get(timeout=30).progress] == [PER_FRAME] * 20
    store.stop(5)
    assert sorted(synced) == [tmp_path, tmp_path / several[0].run_id]


def test_a_folder_that_cannot_be_synced_fails_those_whose_segments_are_new_in_it(tmp_path, monkeypatch):
    def refuse(folder) -> None:
        raise SinkError(f"{folder}: cannot sync the names in it")

    monkeypatch.setattr("esper_telemetry.storage.store.sync_folder", refuse)
    monkeypatch.setattr("esper_telemetry.storage.producer_files.sync_folder", refuse)
    several = [Produced(frames=1, per_frame=PER_FRAME, producer_id=bytes([number]) * 16) for number in range(1, 9)]
    bench = Bench(tmp_path)
    files = [bench.files(produced) for produced in several]
    for each, produced in zip(files, several, strict=True):
        bench.put(each, produced, [0])
    bench.settled()
    assert all("cannot sync the names" in str(each.failed) for each in files)
    assert [each.numbers.durable_seq for each in files] == [0] * 8, "nothing is durable whose name is not"
    bench.store.stop(5)


def test_a_stream_begins_while_the_syncs_of_others_hang(bench, monkeypatch):
    several = [Produced(frames=2, per_frame=PER_FRAME, producer_id=bytes([number]) * 16) for number in range(1, 9)]
    files = [bench.files(produced) for produced in several]
    bench.settled()
    go_on, hanging = threading.Event(), threading.Event()
    sync = SegmentWriter.sync

    def hang(writer) -> None:
        hanging.set()
        assert go_on.wait(30)
        sync(writer)

    monkeypatch.setattr(SegmentWriter, "sync", hang)
    monkeypatch.setattr("esper_telemetry.storage.store.GATHER_S", 1.0)  # all frames are one cycle on any machine
    for each, produced in zip(files, several, strict=True):
        bench.put(each, produced, [0])
    assert hanging.wait(30)
    comer = ProducerFiles(bench.root, ProducerKey("comer", bytes(15) + b"1"))
    bench.store.put(comer, comer.claim())
    bench.put(files[0], several[0], [1])
    bench.store.put(files[0], files[0].claim())
    bench.until(lambda progress: progress.key == comer.key)
    assert comer.writes(1)
    assert not files[0].writes(1), "what is put into one producer stays in its order"
    assert [each.numbers.durable_seq for each in files] == [0] * 8
    go_on.set()
    bench.until(lambda progress: progress.key == files[0].key and progress.durable_seq == 2 * PER_FRAME)
    assert files[0].writes(1)
    assert stored(bench.root, several[0]) == several[0].raw
