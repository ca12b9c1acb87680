"""A collector's folder against its index: read once, read again where it differs, losses reported, nothing lost."""

import asyncio
import contextlib
import logging
import os
import shutil
import time

import pytest

from esper_telemetry.daemon.failures import TaskFailures
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.verification import verify
from esper_telemetry.storage import folder_check
from esper_telemetry.storage.file_engine import FileEngine
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.segment_index import INDEX_NAME, SegmentIndex
from tests.esper_telemetry.collector.publisher import Produced
from tests.esper_telemetry.storage.test_recovery import write

PER_FRAME = 30


@pytest.fixture(scope="module")
def produced():
    return Produced(frames=6, per_frame=PER_FRAME)


class Folder:
    """A collector's folder with one run, and what its engine reports."""

    def __init__(self, root, produced) -> None:
        self.root, self.produced = root, produced
        self.key = ProducerKey(produced.run_id, produced.producer_id)
        self.run = root / produced.run_id
        self.lost: list[tuple[int, int]] = []
        self.left: list[int] = []
        self.notes: list[str] = []

    def age(self) -> None:
        """Make the run old enough for its time to be believed."""
        os.utime(self.run, (time.time() - 100, time.time() - 100))

    def write(self, frames, *, segment=1, **how):
        name = f"main-r0-20251009T085320Z-{self.key.producer_id[:4].hex()}-{segment:06d}.esr.zst"
        path = write(self.root, self.produced, frames, segment=segment, name=name, **how)
        self.age()
        return path

    @contextlib.asynccontextmanager
    async def engine(self, failures=None):
        engine = FileEngine(self.root, self.left.append, failures=failures)
        await engine.start(lambda cycle: self.lost.extend(r for each in cycle.progress for r in each.lost))
        self.notes = engine.notes
        yield engine
        await engine.stop(1)

    def start(self) -> None:
        """Start an engine and stop it."""

        async def scenario():
            async with self.engine():
                pass

        asyncio.run(scenario())

    def indexed(self):
        index = SegmentIndex(self.root)
        rows, settled = index.segments(self.run.name), index.settled_at(self.run.name)
        assert not index.take_problem()
        index.close()
        return rows, settled


@pytest.fixture
def folder(tmp_path, produced):
    return Folder(tmp_path / "store", produced)


def readings(monkeypatch) -> list[str]:
    """Return a list that gets the name of each segment that is read."""
    names = []
    opened = folder_check.RecordReader

    def reader(path):
        names.append(path.name)
        return opened(path)

    monkeypatch.setattr(folder_check, "RecordReader", reader)
    return names


def test_a_run_is_read_once_and_then_known_by_its_time(folder, monkeypatch):
    path = folder.write(range(3), seal=True)
    read = readings(monkeypatch)
    folder.start()
    assert read == [path.name]
    rows, settled = folder.indexed()
    assert rows[path.name].last_seq == 3 * PER_FRAME
    assert rows[path.name].first_seq == 1
    assert settled == folder.run.stat().st_mtime_ns
    folder.start()
    assert read == [path.name], "a known run is not read again"
    assert folder.left[-1] == 0
    assert not folder.lost


@pytest.mark.parametrize("damage", ["gone", "torn", "garbage", "beside"])
def test_an_index_that_is_gone_or_wrong_is_made_again_from_the_files(folder, damage):
    path = folder.write(range(3), seal=True)
    folder.start()
    before = folder.indexed()
    index = folder.root / INDEX_NAME
    if damage == "gone":
        index.unlink()
    elif damage == "torn":
        index.write_bytes(index.read_bytes()[:5000])
    elif damage == "garbage":
        index.write_bytes(b"x" * 5000)
    else:
        index.with_name(INDEX_NAME + "-wal").write_bytes(b"x" * 5000)
    folder.start()
    assert folder.indexed() == before
    assert verify(path).good
    assert any("made again from the files" in note for note in folder.notes) == (damage in ("torn", "garbage"))
    assert not folder.lost


def test_a_run_that_cannot_be_listed_is_shown_while_it_cannot_and_read_once_it_can(folder, caplog, monkeypatch):
    monkeypatch.setattr(folder_check, "_AGAIN_S", 0.1)
    path = folder.write(range(3), seal=True)
    folder.start()
    failures = TaskFailures(logging.getLogger("check"))

    async def scenario():
        async with folder.engine(failures) as engine:
            # Else it may be listed in the moment in which it has no name.
            await until(lambda: not engine._check._unread and not engine._check._unseen)
            aside = folder.run.with_name(".aside")
            folder.run.rename(aside)
            folder.run.symlink_to(folder.run.name)  # a name that leads to itself: the disk answers with an error
            engine.tried(folder.key, folder.run / "main.esr.zst", failed=False)
            await until(lambda: list(failures.failing()) == ["index"])
            folder.run.unlink()
            aside.rename(folder.run)
            folder.age()
            await until(lambda: not failures.failing())

    asyncio.run(scenario())
    assert caplog.text.count("index failed and is tried again: SinkError") == 1
    assert "cannot be listed" in caplog.text
    assert not folder.lost, "nothing is gone"
    assert folder.indexed()[0][path.name].last_seq == 3 * PER_FRAME


def test_a_root_that_is_removed_under_the_check_is_shown_and_does_not_end_it(folder, monkeypatch):
    folder.write(range(3), seal=True)
    failures = TaskFailures(logging.getLogger("check"))

    async def scenario():
        async with folder.engine(failures) as engine:
            await until(lambda: folder.left[-1:] == [0])
            index = engine._index
            folder.root.rename(folder.root.with_name("elsewhere"))
            index._begin_anew(OSError("the disk is gone"))  # as a read of its file finds
            engine.tried(folder.key, folder.run / "main.esr.zst", failed=False)
            await until(lambda: "index" in failures.failing())
            folder.root.with_name("elsewhere").rename(folder.root)
            await until(lambda: not failures.failing())
            await until(lambda: index.segments(folder.run.name))

    asyncio.run(scenario())


async def until(true) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - a thread changes it
            await asyncio.sleep(0.02)


def test_what_a_kill_left_open_is_sealed_by_the_next_start(folder):
    folder.write(range(2), seal=True)
    folder.start()
    path = folder.write(range(2, 4), segment=2, last_seq=2 * PER_FRAME)
    with path.open("ab") as file:
        file.write(b"torn")
    folder.start()
    assert any("cut from" in note for note in folder.notes)
    with RecordReader(path) as reader:
        assert reader.closed
    folder.age()
    folder.start()
    rows, settled = folder.indexed()
    assert rows[path.name].last_seq == 4 * PER_FRAME
    assert settled
    assert not folder.lost


def test_a_run_folder_that_was_removed_is_reported_as_lost_once(folder, caplog):
    folder.write(range(2), seal=True)
    folder.start()
    shutil.rmtree(folder.run)
    with caplog.at_level(logging.ERROR):
        folder.start()
    assert folder.lost == [(1, 2 * PER_FRAME)]
    assert "is gone: numbers 1 to 60 were durable and are lost" in caplog.text
    folder.start()
    assert folder.lost == [(1, 2 * PER_FRAME)]
    assert folder.indexed() == ({}, 0)


def test_a_run_that_is_deleted_through_the_collector_is_not_reported_as_lost(folder):
    folder.write(range(2), seal=True)

    async def scenario():
        async with folder.engine() as engine:
            await engine.delete(folder.key.run_id, "on request")

    asyncio.run(scenario())
    folder.start()
    assert not folder.lost


def test_what_retention_deletes_is_not_reported_as_lost(folder):
    old = folder.write(range(2), seal=True)
    folder.write(range(2, 4), segment=2, last_seq=2 * PER_FRAME, seal=True)
    os.utime(old, (1, 1))

    async def scenario():
        async with folder.engine() as engine:
            assert [each.run_id for each in await engine.expire(lambda run_id: 1000.0)] == [folder.key.run_id]

    asyncio.run(scenario())
    assert not old.exists()
    folder.start()
    assert not folder.lost


def test_a_run_that_comes_back_from_an_older_backup_is_read_again_and_its_loss_reported(folder, tmp_path):
    first = folder.write(range(2), seal=True)
    shutil.copytree(folder.run, tmp_path / "backup")
    second = folder.write(range(2, 4), segment=2, last_seq=2 * PER_FRAME, seal=True)
    folder.start()
    shutil.rmtree(folder.run)
    shutil.copytree(tmp_path / "backup", folder.run)
    os.utime(folder.run, (5, 5))
    folder.start()
    assert folder.lost == [(2 * PER_FRAME + 1, 4 * PER_FRAME)]
    rows, _ = folder.indexed()
    assert first.name in rows
    assert second.name not in rows

    async def scenario():
        async with folder.engine() as engine:
            assert (await engine.restore(folder.key)).lane.numbers.durable_seq == 2 * PER_FRAME

    asyncio.run(scenario())


def wait_until(true) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_file_that_was_cut_in_place_is_found_beside_the_streams(folder):
    path = folder.write(range(3), seal=True)
    folder.start()
    with RecordReader(path) as reader:
        ends = [ref.end for ref in reader.frames()]
    os.truncate(path, ends[1] + 10)
    folder.age()
    folder.start()  # the folder's time differs: read at once
    assert folder.lost == [(2 * PER_FRAME + 1, 3 * PER_FRAME)]
    assert verify(path).good
    folder.lost.clear()
    folder.start()
    settled = folder.indexed()[1] or folder.run.stat().st_mtime_ns
    os.truncate(path, ends[0] + 10)
    os.utime(folder.run, ns=(settled, settled))

    async def scenario():
        async with folder.engine():
            await asyncio.to_thread(wait_until, lambda: folder.lost)

    asyncio.run(scenario())
    assert folder.lost == [(PER_FRAME + 1, 2 * PER_FRAME)]
    assert verify(path).good


def test_a_segment_that_was_replaced_by_one_with_the_same_numbers_is_its_next_generation(folder):
    path = folder.write(range(3), seal=True)
    folder.start()
    compact = path.with_name("compact")
    shutil.copyfile(path, compact)
    compact.replace(path)
    folder.age()
    folder.start()
    rows, _ = folder.indexed()
    assert rows[path.name].generation == 1
    assert rows[path.name].inode == path.stat().st_ino
    assert not folder.lost


def test_what_is_not_read_in_time_is_read_while_streams_are_served(folder, monkeypatch, caplog):
    path = folder.write(range(3))
    monkeypatch.setattr("esper_telemetry.storage.file_engine._READ_S", 0.0)

    async def scenario():
        with caplog.at_level(logging.INFO):
            async with folder.engine() as engine:
                assert folder.left[0] == 1
                restored = await engine.restore(folder.key)
                assert restored.lane.numbers.durable_seq == 3 * PER_FRAME, "a producer that comes back is read first"
                await asyncio.to_thread(wait_until, lambda: folder.left[-1] == 0)

    asyncio.run(scenario())
    assert "1 runs are still to be read" in caplog.text
    assert "the index is complete" in caplog.text
    assert verify(path).closed


def test_files_of_others_and_files_without_a_header_are_as_they_were_or_put_aside(folder):
    torn = folder.write([])
    os.truncate(torn, 200)
    foreign = folder.run / "notes.txt"
    foreign.write_text("mine")
    folder.age()
    folder.start()
    assert not torn.exists()
    assert torn.with_name(torn.name + ".torn").stat().st_size == 200
    assert foreign.read_text() == "mine"
    assert any("not even its header is whole" in note for note in folder.notes)


def test_a_sealed_segment_whose_header_was_lost_is_reported_as_lost(folder):
    first = folder.write(range(2), seal=True)
    folder.write(range(2, 4), segment=2, last_seq=2 * PER_FRAME, seal=True)
    folder.start()
    os.truncate(first, 100)
    os.utime(folder.run, (time.time() - 50, time.time() - 50))  # so that it is read again before streams are served
    folder.start()
    assert folder.lost == [(1, 2 * PER_FRAME)]
    assert first.with_name(first.name + ".torn").exists()
    assert not any("nothing in it was acked" in note for note in folder.notes)
    rows, _ = folder.indexed()
    assert first.name not in rows
