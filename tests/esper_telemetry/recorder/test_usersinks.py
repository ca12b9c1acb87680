"""A user's own sinks: they get every batch that the record has, and nothing that they do reaches the trainer."""

from __future__ import annotations

import os
import sqlite3
import threading
import time

import pytest

import esper_telemetry as et
from esper.v1 import seed_pb2
from esper_telemetry import events
from esper_telemetry.errors import ConfigError
from esper_telemetry.recorder import usersinks
from esper_telemetry.recordfile import list_run
from esper_telemetry.sinks import BatchDecoder

QUICK = et.RecordOptions(flush_interval=0.02)


class TableSink:
    """What a user would write: scalars into a table of a database, in the thread that opened it."""

    def __init__(self, path):
        self.path, self.database, self.closed = path, None, 0
        self.decoder = BatchDecoder()
        self.threads = set()

    def write(self, batch):
        self.threads.add(threading.current_thread().name)
        if self.database is None:
            self.database = sqlite3.connect(self.path)  # may only be used by this thread
            self.database.execute("create table events (seq integer, name text, step integer)")
        rows = [(event.seq, event.name, event.data.get("step")) for event in self.decoder.decode(batch)]
        self.database.executemany("insert into events values (?, ?, ?)", rows)

    def close(self):
        self.closed += 1
        self.database.commit()
        self.database.close()


def rows(path):
    with sqlite3.connect(path) as database:
        return database.execute("select * from events order by rowid").fetchall()


def test_a_users_sink_gets_every_event_of_the_record_in_order(tmp_path):
    sink = TableSink(tmp_path / "events.db")
    with et.start_run(tmp_path / "runs", name="x", record=QUICK, sinks=[sink]) as run:
        for step in range(500):
            run.emit(events.ScalarLogged, name="loss", value=0.5, step=step)
            if step % 100 == 0:
                run.flush()
        emitter = run.bind(global_epoch=1, inner_epoch=1, env_id=0, device="cpu")
        emitter.emit(seed_pb2.SeedGerminated, seed_id="a", blueprint_id="b")  # no header declares this type
    recorded = [(event.seq, event.type, event.data.get("step")) for event in et.read(run.folder)]
    assert rows(sink.path) == recorded
    assert len(recorded) == 503
    assert run.stats().sink_losses == {"TableSink": 0}
    assert sink.closed == 1
    assert sink.threads == {"esper-telemetry sink TableSink"}


def test_a_sink_needs_no_more_than_write(tmp_path):
    class Counter:
        events = 0

        def write(self, batch):
            self.events += batch.records

    first, second = Counter(), Counter()
    with et.start_run(tmp_path, name="x", sinks=[first, second]) as run:
        run.emit(events.ScalarLogged, name="loss")
    assert first.events == second.events == 3
    assert run.stats().sink_losses == {"Counter 1": 0, "Counter 2": 0}


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()], ids=lambda one: type(one).__name__
)
@pytest.mark.parametrize("on_error", ["warn", "raise"])
def test_what_a_sink_raises_is_counted_said_once_and_never_raised(tmp_path, caplog, error, on_error):
    class Failing:
        def write(self, batch):
            raise error

        def close(self):
            raise error

    options = et.RecordOptions(flush_interval=0.02, on_error=on_error)
    with et.start_run(tmp_path, name="x", record=options, strict=True, sinks=[Failing()]) as run:
        for step in range(10):
            run.emit(events.ScalarLogged, name="loss", step=step)
            assert run.flush()
    assert run.stats().sink_losses == {"Failing": 12}
    assert run.stats().dropped == 0, "the record has them"
    assert sum(1 for _ in et.read(run.folder)) == 12
    assert caplog.text.count("refused a batch") == 1
    assert caplog.text.count("could not be closed") == 1
    assert caplog.text.count("did not take 12 of 12 events; the record has them") == 1


def test_a_sink_that_fails_for_a_while_goes_on_and_costs_the_others_nothing(tmp_path):
    class Flaky:
        def __init__(self):
            self.calls, self.taken = 0, []

        def write(self, batch):
            self.calls += 1
            if self.calls % 2:
                raise OSError("away")
            self.taken += range(batch.first_seq, batch.last_seq + 1)

    flaky, good = Flaky(), TableSink(tmp_path / "events.db")
    with et.start_run(tmp_path / "runs", name="x", record=QUICK, sinks=[flaky, good]) as run:
        for step in range(9):
            run.emit(events.ScalarLogged, name="loss", step=step)
            run.flush()
    losses = run.stats().sink_losses
    assert losses == {"Flaky": 11 - len(flaky.taken), "TableSink": 0}
    assert 0 < losses["Flaky"] < 11
    assert len(rows(good.path)) == 11


def test_a_sink_that_hangs_holds_up_neither_record_nor_close(tmp_path, monkeypatch):
    monkeypatch.setattr(usersinks, "MOST_WAITING_BYTES", 1_000)
    release = threading.Event()

    class Hanging:
        def write(self, batch):
            release.wait(60)

    options = et.RecordOptions(flush_interval=0.02, close_timeout=0.4)
    run = et.start_run(tmp_path, name="x", record=options, sinks=[Hanging()])
    for step in range(2000):
        run.emit(events.ScalarLogged, name="loss", step=step)
        if step % 100 == 0:
            assert run.flush(20)
    assert run.stats().sink_losses["Hanging"] > 0, "what may wait is bounded"
    run.close()
    assert run.stats().sink_losses == {"Hanging": 2002}
    release.set()
    assert run.stats().dropped == 0
    assert sum(1 for _ in et.read(run.folder)) == 2002


def test_the_file_comes_first_and_what_it_refuses_no_sink_gets(tmp_path):
    sink = TableSink(tmp_path / "events.db")
    options = et.RecordOptions(flush_interval=0.02, close_timeout=0.3)
    run = et.start_run(tmp_path / "runs", name="x", record=options, sinks=[sink])
    run.flush()
    for path in list_run(run.folder):
        path.unlink()
    run.folder.rmdir()
    run.folder.parent.rmdir()
    run.folder.parent.touch()  # the record can be written nowhere
    run.emit(events.ScalarLogged, name="lost")
    run.close()
    assert [name for _, name, _ in rows(sink.path)] == ["run.started"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_fork_child_records_to_its_file_and_calls_no_sink(tmp_path, in_child):
    sink = TableSink(tmp_path / "events.db")
    with et.start_run(tmp_path / "runs", name="x", record=QUICK, sinks=[sink]) as run:

        def act():
            run.emit(events.ScalarLogged, name="child")
            assert run.flush()
            assert run.stats().sink_losses == {}
            run.close()

        in_child(act)
        run.emit(events.ScalarLogged, name="parent")
    names = [event.data["name"] for event in et.read(run.folder, types="scalar.logged")]
    assert sorted(names) == ["child", "parent"]
    assert [name for _, name, _ in rows(sink.path)] == ["run.started", "scalar.logged", "run.finished"]


def test_threads_of_sinks_end_with_the_run(tmp_path):
    with et.start_run(tmp_path, name="x", sinks=[TableSink(tmp_path / "events.db")]):
        assert any("sink TableSink" in thread.name for thread in threading.enumerate())
    deadline = time.monotonic() + 20
    while any("sink TableSink" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("sinks", "said"),
    [
        (3, "sinks is of type int; give a list of sinks"),
        ([object()], r"sinks\[0\] is of type object; give an object with a method write"),
        ([TableSink], r"sinks\[0\] is the class TableSink; give an object"),
    ],
    ids=["no list", "no write", "a class"],
)
def test_what_is_no_sink_is_refused_before_anything_is_written(tmp_path, sinks, said):
    with pytest.raises(ConfigError, match=said):
        et.start_run(tmp_path / "runs", name="x", sinks=sinks)
    assert not (tmp_path / "runs").exists()
