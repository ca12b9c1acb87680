"""Every event of a record once: those that are stored, those that are written meanwhile, those of the next attempt."""

from __future__ import annotations

import shutil
import threading
import time

import pytest

import esper_telemetry
from esper_telemetry import RecordOptions
from esper_telemetry.decode import Filter, read
from esper_telemetry.errors import RecordError
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.ui.origin import Phase
from esper_telemetry.ui.origin_files import FileOrigin


class Following:
    """An origin that is read by a thread, as a page reads it."""

    def __init__(self, path) -> None:
        self.origin = FileOrigin(path)
        self.events = []
        self.phases = []
        self.portions = []
        self._stop = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for portion in self.origin.portions(lambda: self._stop):
            self.events += portion.events
            self.phases.append(portion.phase)
            self.portions.append(portion)

    def wait(self, condition) -> None:
        deadline = time.monotonic() + 60
        while not condition(self):
            assert time.monotonic() < deadline, (self.phases[-3:], len(self.events))
            time.sleep(0.02)

    def stop(self) -> None:
        self._stop = True
        self.origin.wake()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def following():
    readers = []

    def follow(path) -> Following:
        readers.append(Following(path))
        return readers[-1]

    yield follow
    for reader in readers:
        reader.stop()


def identities(events) -> list:
    return [(event.producer_id, event.position) for event in events]


def test_a_finished_record_is_given_whole_and_its_end_is_told(record_run, following):
    folder = record_run()
    reader = following(folder)
    reader.wait(lambda one: Phase.ENDED in one.phases)
    assert identities(reader.events) == identities(read(folder))
    assert reader.portions[0].stored == len(reader.events)
    assert reader.portions[-1].warnings == ()


def test_what_is_written_while_history_is_read_is_given_once_and_in_order(tmp_path, following):
    with esper_telemetry.start_run(
        tmp_path / "runs", name="grows", record=esper_telemetry.RecordOptions(flush_interval=0.05)
    ) as run:
        for step in range(6000):
            run.emit(esper_telemetry.events.ScalarLogged, name="a", value=1.0, step=step)
        run.flush()
        reader = following(run.folder)
        for step in range(6000, 9000):
            run.emit(esper_telemetry.events.ScalarLogged, name="a", value=1.0, step=step)
            if step % 100 == 0:
                time.sleep(0.01)
        run.flush()
        reader.wait(lambda one: sum(event.type == "scalar.logged" for event in one.events) == 9000)
    reader.wait(lambda one: Phase.ENDED in one.phases)
    assert identities(reader.events) == identities(read(run.folder))
    assert reader.phases.index(Phase.LIVE) < reader.phases.index(Phase.ENDED)


def test_the_next_attempt_in_the_folder_follows_without_repeating_the_first(tmp_path, following):
    with esper_telemetry.start_run(tmp_path / "runs", name="long") as run:
        run.emit(esper_telemetry.events.ScalarLogged, name="a", value=1.0, step=1)
    reader = following(run.folder)
    reader.wait(lambda one: Phase.ENDED in one.phases)
    with esper_telemetry.start_run(tmp_path / "runs", name="long", resume=run.folder) as again:
        again.emit(esper_telemetry.events.ScalarLogged, name="a", value=2.0, step=2)
    reader.wait(lambda one: any(event.attempt == 2 and event.type == "run.finished" for event in one.events))
    assert sorted(identities(reader.events)) == sorted(identities(read(run.folder)))


def test_a_cut_record_is_given_as_far_as_it_is_whole_and_the_cut_is_told(record_run, following):
    def fill(run) -> None:
        for step in range(4):
            run.emit(esper_telemetry.events.ScalarLogged, name="a", value=1.0, step=step)
            run.flush()

    (file,) = record_run(fill, record=RecordOptions(compact=False)).glob("*.esr.zst")
    with RecordReader(file) as record:
        third = record.segments[0].frames[2]
    file.write_bytes(file.read_bytes()[: third.offset + 10])
    reader = following(file.parent)
    reader.wait(lambda one: Phase.LIVE in one.phases)
    assert reader.portions[-1].warnings


def test_the_last_events_are_read_from_the_record_by_type(record_run):
    origin = FileOrigin(record_run())
    assert [event.type for event in origin.last(Filter(types=("seed.*",)), 1)] == ["seed.culled"]


def test_the_types_of_the_record_are_explained(record_run):
    meaning = FileOrigin(record_run()).reference().events["ppo.update_completed"]
    assert meaning.message.comment


def test_a_folder_that_is_gone_is_an_error_not_a_silence(record_run):
    folder = record_run()
    origin = FileOrigin(folder)
    shutil.rmtree(folder)
    with pytest.raises(RecordError, match="no such"):
        list(origin.portions(lambda: False))


def test_numbers_that_are_missing_behind_the_last_event_stay_missing_when_the_run_has_ended(
    write_record, scalars, following
):
    reader = following(write_record(scalars(3), scalars(3), shed=7))
    reader.wait(lambda one: Phase.ENDED in one.phases)
    assert reader.portions[-1].missing == 14
