"""The writer thread, with disks that fail, hang and come back."""

import threading
import time

import pytest

import esper_telemetry as et
from esper_telemetry import errors, events, testing
from esper_telemetry.recordfile import RecordReader


class Faulty:
    """A sink before another that fails, or hangs, while it is told to."""

    def __init__(self, sink):
        self.sink, self.failing, self.gate, self.tries = sink, False, threading.Event(), 0
        self.gate.set()

    def write(self, batch):
        self.tries += 1
        self.gate.wait()
        if self.failing:
            raise errors.SinkError("disk full: no space left on device")
        self.sink.write(batch)

    def sync(self):
        self.sink.sync()

    def close(self):
        self.sink.close()


def faulty_run(**options):
    made = []

    def wrap(sink):
        made.append(Faulty(sink))
        return made[0]

    run, sink = testing.memory_run(strict=False, wrap=wrap, record=et.RecordOptions(flush_interval=0.01, **options))
    return run, sink, made[0]


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def test_a_failing_disk_neither_stops_training_nor_loses_what_fits(caplog):
    run, sink, disk = faulty_run()
    disk.failing = True
    for step in range(100):
        run.emit(events.ScalarLogged, name="loss", step=step)
    assert not run.flush(timeout=0.05)
    until(lambda: disk.tries > 2)
    disk.failing = False
    assert run.flush(timeout=20)
    run.close()
    steps = [event.data["step"] for event in testing.recorded(sink) if event.name == "scalar.logged"]
    assert steps == list(range(100))
    assert run.stats().dropped == 0
    assert caplog.text.count("cannot be written") == 1
    assert caplog.text.count("being written again") == 1


def test_a_full_buffer_sheds_and_reports_by_type_and_cause():
    run, sink, disk = faulty_run(buffer_bytes=20_000, reserve_bytes=10_000)
    disk.failing = True
    for step in range(2000):
        run.emit(events.ScalarLogged, name="loss", step=step)
    dropped = run.stats().dropped
    assert 0 < dropped < 2000
    disk.failing = False
    assert run.flush(timeout=20)

    def reported():
        reports = [event.data for event in testing.recorded(sink) if event.name == "telemetry.dropped"]
        return sum(drop["count"] for report in reports for drop in report["drops"] if drop["cause"] == "buffer_full")

    until(lambda: reported() == dropped)
    run.close()
    found = testing.recorded(sink)
    assert found[-1].data["dropped"] == dropped
    assert len(found) + dropped == run.stats().offered == found[-1].seq


def test_lifecycle_events_survive_a_full_buffer():
    run, sink, disk = faulty_run(buffer_bytes=20_000, reserve_bytes=100_000)
    disk.failing = True
    for step in range(2000):
        run.emit(events.ScalarLogged, name="loss", step=step)
        if step % 20 == 0:
            run.emit(events.LevelChanged, reason=str(step))
    disk.failing = False
    run.close()
    reasons = [event.data["reason"] for event in testing.recorded(sink) if event.name == "telemetry.level_changed"]
    assert reasons == [str(step) for step in range(0, 2000, 20)]


def test_close_gives_up_on_a_dead_disk_after_its_deadline_and_counts_what_is_lost(caplog):
    run, sink, disk = faulty_run(close_timeout=0.2)
    disk.failing = True
    run.emit(events.ScalarLogged, name="lost")
    run.close()
    assert run.stats().drops["esper_telemetry.v1.ScalarLogged", "shutdown"] == 1
    assert "telemetry lost" in caplog.text
    assert [event.name for event in testing.recorded(sink)] == ["run.started"]


def test_a_hanging_disk_does_not_hang_the_exit():
    run, _, disk = faulty_run(close_timeout=0.2)
    disk.gate.clear()
    run.emit(events.ScalarLogged, name="stuck")
    run.close()
    assert run.stats().drops["esper_telemetry.v1.ScalarLogged", "shutdown"] == 1
    disk.gate.set()


def test_on_error_raise_raises_the_sinks_error_at_the_next_call():
    run, _, disk = faulty_run(on_error="raise", close_timeout=0.2)
    disk.failing = True
    run.emit(events.ScalarLogged, name="x")
    with pytest.raises(errors.SinkError, match="disk full"):
        run.flush(timeout=0.2)
    with pytest.raises(errors.SinkError, match="disk full"):
        run.emit(events.ScalarLogged, name="y")
    with pytest.raises(errors.SinkError, match="disk full"):
        run.close()


def test_an_event_that_is_never_shed_reaches_the_file_without_a_flush(tmp_path):
    with et.start_run(tmp_path, name="urgent", record=et.RecordOptions(flush_interval=1000)) as run:
        run.emit(events.ScalarLogged, name="before")
        run.emit(events.LevelChanged, reason="urgent")

        def arrived():
            with RecordReader(run.paths[0]) as reader:
                return len(list(reader.events())) == 3

        until(arrived)


def test_a_pending_event_reaches_the_file_after_the_flush_interval(tmp_path):
    with et.start_run(tmp_path, name="interval", record=et.RecordOptions(flush_interval=0.05)) as run:
        run.emit(events.ScalarLogged, name="waiting")

        def arrived():
            with RecordReader(run.paths[0]) as reader:
                return len(list(reader.events())) == 2

        until(arrived)
