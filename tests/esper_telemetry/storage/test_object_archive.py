"""Sealed segments in object storage: once each, verified, safe against a kill, and before retention deletes."""

import asyncio
import hashlib
import json
import logging
import os
import shutil
import time

import pytest

from esper_telemetry.daemon.failures import TaskFailures
from esper_telemetry.daemon.metrics_port import MetricSet
from esper_telemetry.errors import ConfigError
from esper_telemetry.storage.file_engine import FileEngine
from esper_telemetry.storage.folder_check import FolderCheck
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.object_archive import MANIFEST_NAME, ObjectArchive
from esper_telemetry.storage.segment_index import INDEX_NAME, SegmentIndex
from tests.esper_telemetry.collector.publisher import Produced
from tests.esper_telemetry.storage.test_recovery import write

PER_FRAME = 30
LOG = logging.getLogger("archive")

pytest.importorskip("obstore", reason="the extra s3 is not installed")


@pytest.fixture(scope="module")
def produced():
    return Produced(frames=6, per_frame=PER_FRAME)


class Archived:
    """A collector's folder and its archive, a folder too: the same code as for S3."""

    def __init__(self, tmp_path, produced) -> None:
        self.root, self.store = tmp_path / "store", tmp_path / "bucket"
        self.store.mkdir(parents=True)
        self.url = f"file://{self.store}"
        self.produced = produced
        self.key = ProducerKey(produced.run_id, produced.producer_id)
        self.run = self.root / produced.run_id

    def write(self, frames, segment=1, last_seq=0):
        name = f"main-r0-20251009T085320Z-{self.key.producer_id[:4].hex()}-{segment:06d}.esr.zst"
        path = write(self.root, self.produced, frames, segment=segment, last_seq=last_seq, name=name, seal=True)
        os.utime(self.run, (time.time() - 100, time.time() - 100))
        return path

    def turn(self):
        """Bring the index up to date and send, once."""
        index = SegmentIndex(self.root)
        engine = FileEngine(self.root)
        engine._report = lambda cycle: None
        FolderCheck(self.root, index, engine, int, TaskFailures(LOG)).begin(60)
        progress = []
        self.sender = ObjectArchive(self.root, index, self.url, progress.append, TaskFailures(LOG))
        result = self.sender.turn()
        assert progress == [result]
        index.close()
        return result

    def manifest(self):
        return {
            each["name"]: each
            for each in json.loads((self.store / self.run.name / MANIFEST_NAME).read_text())["segments"]
        }

    def object(self, path):
        return self.store / self.run.name / path.name


@pytest.fixture
def archived(tmp_path, produced):
    return Archived(tmp_path, produced)


def test_a_segment_is_sent_once_and_listed_with_its_checksum_and_numbers(archived):
    path = archived.write(range(2))
    progress = archived.turn()
    assert (progress.segments, progress.waiting, progress.failed) == (1, 0, False)
    assert archived.object(path).read_bytes() == path.read_bytes()
    entry = archived.manifest()[path.name]
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (entry["first_seq"], entry["last_seq"], entry["size"]) == (1, 2 * PER_FRAME, path.stat().st_size)
    assert archived.turn().segments == 0
    second = archived.write(range(2, 4), segment=2, last_seq=2 * PER_FRAME)
    assert archived.turn().segments == 1
    assert set(archived.manifest()) == {path.name, second.name}


def test_without_its_index_it_believes_the_manifest_and_sends_only_what_is_missing(archived):
    first, second = archived.write(range(2)), archived.write(range(2, 4), segment=2, last_seq=2 * PER_FRAME)
    archived.turn()
    (archived.root / INDEX_NAME).unlink()
    assert (archived.turn().segments, archived.turn().waiting) == (0, 0)
    (archived.root / INDEX_NAME).unlink()
    archived.object(second).unlink()
    assert archived.turn().segments == 1
    assert archived.object(second).read_bytes() == second.read_bytes()
    assert archived.object(first).exists()


def test_what_was_put_and_not_listed_before_a_kill_is_put_again_under_the_same_name(archived):
    path = archived.write(range(2))
    archived.object(path).parent.mkdir()
    archived.object(path).write_bytes(b"half of")
    archived.turn()
    assert archived.object(path).read_bytes() == path.read_bytes()
    assert [each.name for each in archived.object(path).parent.glob("*.zst")] == [path.name]


def test_a_segment_that_was_compacted_replaces_its_object_as_the_next_generation(archived):
    path = archived.write(range(2))
    archived.turn()
    compact = path.with_name("compact")
    shutil.copyfile(path, compact)
    compact.replace(path)
    os.utime(archived.run, (5, 5))
    assert archived.turn().segments in (0, 1)  # the same bytes need not be sent again
    assert archived.manifest()[path.name]["generation"] == 1
    assert archived.object(path).read_bytes() == path.read_bytes()


def test_other_numbers_under_a_name_of_the_archive_never_replace_what_it_has(archived, caplog):
    path = archived.write(range(4))
    archived.turn()
    before = archived.object(path).read_bytes()
    shutil.rmtree(archived.run)
    archived.write(range(1))
    with caplog.at_level(logging.ERROR):
        progress = archived.turn()
    assert archived.object(path).read_bytes() == before
    assert "the archive has other numbers under this name (1 to 120, here 1 to 30); it is not sent" in caplog.text
    assert progress.waiting == 1, "it is not archived, and retention may not delete it"


def test_a_store_that_refuses_is_told_and_nothing_is_recorded(archived):
    path = archived.write(range(2))
    archived.store.joinpath(archived.run.name).write_text("a file where the folder has to be")
    progress = archived.turn()
    assert progress.failed
    assert progress.waiting == 1
    assert f"nothing can be archived: {archived.run.name}: " in archived.sender.problem
    archived.store.joinpath(archived.run.name).unlink()
    assert archived.turn().segments == 1
    assert archived.object(path).exists()


def second_run(archived):
    """Write a run beside the first one, and return its archive."""
    other = Archived(archived.root.parent / "other", Produced(frames=2, per_frame=PER_FRAME, run_id="aaaa-first"))
    path = other.write(range(2))
    folder = archived.root / other.run.name
    shutil.copytree(other.run, folder)
    os.utime(folder, (time.time() - 100, time.time() - 100))
    return folder / path.name


def test_a_run_that_cannot_be_sent_keeps_no_other_run_back_and_is_tried_again(archived, caplog):
    path = archived.write(range(2))
    archived.turn()
    manifest = archived.store / archived.run.name / MANIFEST_NAME
    whole = manifest.read_bytes()
    manifest.write_bytes(b"{ half of it")
    second = archived.write(range(2, 4), segment=2, last_seq=2 * PER_FRAME)
    other = second_run(archived)
    index = SegmentIndex(archived.root)
    FolderCheck(archived.root, index, FileEngine(archived.root), int, TaskFailures(LOG)).begin(60)
    sender = ObjectArchive(archived.root, index, archived.url, lambda progress: None, TaskFailures(LOG))
    done = [sender.turn() for _ in range(4)]
    assert sum(each.segments for each in done) == 1
    assert done[-1].failed
    assert done[-1].waiting == 1
    assert (archived.store / other.parent.name / other.name).read_bytes() == other.read_bytes()
    assert caplog.text.count(f"{archived.run.name} cannot be archived") <= 1
    manifest.write_bytes(whole)
    done = [sender.turn() for _ in range(3)]
    assert done[-1] == (0, 0, 0, False)
    assert archived.object(second).read_bytes() == second.read_bytes()
    assert archived.object(path).read_bytes() == path.read_bytes()
    index.close()


def test_an_archive_that_fails_is_shown_and_counted_and_goes_on_once_it_can(archived, caplog):
    path = archived.write(range(2))
    metrics = MetricSet("test_")
    failures = TaskFailures(LOG, metrics.task_failures, metrics.task_failing)
    obstacle = archived.store / archived.run.name
    obstacle.write_text("a file where the folder has to be")

    def failing() -> float:
        return metrics.registry.get_sample_value("test_task_failing", {"task": "archive"})

    async def scenario():
        engine = FileEngine(archived.root, archive_url=archived.url, failures=failures)
        await engine.start(lambda cycle: None)
        await until(lambda: failing() == 1)
        assert list(failures.failing()) == ["archive"]
        obstacle.unlink()
        await until(lambda: failing() == 0)
        await engine.stop(1)

    asyncio.run(scenario())
    assert metrics.registry.get_sample_value("test_task_failures_total", {"task": "archive"}) >= 1
    assert caplog.text.count("archive failed and is tried again: SinkError: file://") == 1
    assert caplog.text.count("archive works again") == 1
    assert archived.object(path).exists()


def test_an_error_that_the_store_has_nothing_to_do_with_ends_no_archive(archived):
    path = archived.write(range(2))
    failures, told = TaskFailures(LOG), []

    def progress(now) -> None:
        told.append(now)
        if len(told) == 1:
            raise RuntimeError("a metric that cannot be set")

    async def scenario():
        engine = FileEngine(archived.root, archive_url=archived.url, on_archived=progress, failures=failures)
        await engine.start(lambda cycle: None)
        await until(lambda: len(told) > 2)
        await engine.stop(1)

    asyncio.run(scenario())
    assert archived.object(path).exists()


def test_retention_deletes_only_what_is_archived(archived):
    first, _ = archived.write(range(2)), archived.write(range(2, 4), segment=2, last_seq=2 * PER_FRAME)
    obstacle = archived.store / archived.run.name
    obstacle.write_text("a file where the folder has to be")

    async def scenario():
        turns = []
        engine = FileEngine(archived.root, archive_url=archived.url, on_archived=turns.append)
        await engine.start(lambda cycle: None)
        await until(lambda: turns)
        assert turns[0].failed
        assert not await engine.expire(lambda run_id: time.time() + 100)
        assert [run.spared for run in await engine.weigh()] == [True]
        obstacle.unlink()
        await until(lambda: not turns[-1].waiting)
        assert [run.spared for run in await engine.weigh()] == [False]
        assert [each.run_id for each in await engine.expire(lambda run_id: time.time() + 100)] == [archived.key.run_id]
        await engine.stop(1)

    asyncio.run(scenario())
    assert not first.exists()
    assert archived.object(first).exists()


async def until(true) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - a thread changes it
            await asyncio.sleep(0.02)


def test_a_url_that_no_store_knows_is_refused_at_the_start(tmp_path):
    with pytest.raises(ConfigError, match="give s3://BUCKET/PREFIX"):
        ObjectArchive(tmp_path, SegmentIndex(tmp_path), "nosuch://bucket", print, TaskFailures(LOG))
