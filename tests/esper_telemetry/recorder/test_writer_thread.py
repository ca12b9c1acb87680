"""The writer thread, with disks that fail, hang and come back."""

import ctypes
import logging
import threading
import time

import pytest

import esper_telemetry as et
from esper.v1 import trainer_pb2
from esper_telemetry import errors, events, testing
from esper_telemetry.recorder.writer_thread import WriterThread
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.sinks import MemorySink


class Faulty:
    """A sink before another that fails, or hangs, while it is told to."""

    def __init__(self, sink):
        self.sink, self.failing, self.gate, self.tries = sink, False, threading.Event(), 0
        self.gate.set()
        self.odd = []  # what the next writes raise

    def write(self, batch):
        self.tries += 1
        self.gate.wait()
        if self.odd:
            raise self.odd.pop(0)
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


def test_an_urgent_event_reaches_the_file_without_a_flush_with_all_before_it(tmp_path):
    with et.start_run(tmp_path, name="urgent", record=et.RecordOptions(flush_interval=1000)) as run:
        run.emit(events.ScalarLogged, name="before")
        run.bind(env_id=0, device="cpu").emit(trainer_pb2.GovernorPanicked)

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


def steps(sink):
    return [event.data["step"] for event in testing.recorded(sink) if event.name == "scalar.logged"]


@pytest.mark.parametrize(
    "error", [MemoryError("one bad moment"), SystemExit(3), KeyboardInterrupt(), ZeroDivisionError()]
)
def test_an_error_of_any_kind_in_one_write_costs_nothing_and_is_said_once(error, caplog):
    run, sink, disk = faulty_run()
    disk.odd = [error]
    run.emit(events.ScalarLogged, name="a", step=1)
    assert run.flush(timeout=20)
    run.emit(events.ScalarLogged, name="a", step=2)
    assert run.flush(timeout=20)
    stats = run.stats()
    assert (stats.writer_alive, stats.error, stats.dropped) == (True, None, 0)
    run.close()
    assert steps(sink) == [1, 2]
    assert caplog.text.count("an error that it does not know") == 1
    assert type(error).__name__ in caplog.text


def test_a_batch_that_can_never_be_written_is_counted_and_the_others_are_written():
    run, sink, disk = faulty_run()
    disk.odd = [MemoryError(), MemoryError()]
    run.emit(events.ScalarLogged, name="a", step=1)
    assert run.flush(timeout=20)
    run.emit(events.ScalarLogged, name="a", step=2)
    run.close()
    stats = run.stats()
    assert steps(sink) == [2]
    assert stats.drops == {("esper_telemetry.v1.ScalarLogged", "writer_failed"): 1}
    assert stats.offered == sum(stats.recorded.values()) + stats.dropped
    finished = testing.recorded(sink)[-1]
    assert (finished.data["offered"], finished.data["dropped"]) == (finished.seq, 1)


def test_an_event_that_no_frame_can_be_made_of_is_counted_and_the_others_are_written():
    clock = testing.FakeClock()
    run, sink = testing.memory_run(strict=False, clock=clock, record=et.RecordOptions(flush_interval=0.01))
    run.flush(20)
    clock.monotonic = "not a time"
    run.emit(events.ScalarLogged, name="a", step=1)
    assert run.flush(timeout=20)
    clock.monotonic = 2_000_000_000
    run.emit(events.ScalarLogged, name="a", step=2)
    run.close()
    assert steps(sink) == [2]
    assert run.stats().drops["esper_telemetry.v1.ScalarLogged", "writer_failed"] == 1


def test_on_error_raise_raises_also_what_the_writer_does_not_know():
    run, _, disk = faulty_run(on_error="raise")
    disk.odd = [MemoryError("one bad moment")] * 1000
    run.emit(events.ScalarLogged, name="x")
    until(lambda: run.stats().error is not None)
    with pytest.raises(errors.SinkError, match="MemoryError: one bad moment"):
        run.emit(events.ScalarLogged, name="y")
    disk.odd = []


def test_when_the_thread_ends_that_is_said_at_once_and_nobody_waits_for_it(caplog, mocker):
    run, sink, _ = faulty_run(close_timeout=600)
    run.emit(events.ScalarLogged, name="a", step=1)
    assert run.flush(timeout=20)
    mocker.patch.object(WriterThread, "_step", side_effect=RuntimeError("a bug"))
    until(lambda: not run.stats().writer_alive)
    assert "has ended (RuntimeError('a bug'))" in caplog.text
    run.emit(events.ScalarLogged, name="a", step=2)
    assert not run.flush(timeout=600)
    stats = run.stats()
    assert stats.drops == {("esper_telemetry.v1.ScalarLogged", "writer_failed"): 1}
    assert stats.offered == sum(stats.recorded.values()) + stats.dropped
    assert "a bug" in stats.error
    run.close()
    assert sink.closed
    assert steps(sink) == [1]


def test_exceptions_set_in_the_writer_thread_neither_end_it_unsaid_nor_lose_an_event():
    run, sink, _ = faulty_run(frame_bytes=1000)
    target = run._core.writer._claims[0]
    for number in range(200):
        for step in range(50):
            run.emit(events.ScalarLogged, name="a", step=50 * number + step)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(target), ctypes.py_object(KeyboardInterrupt))
    run.close()
    stats = run.stats()
    assert stats.offered == sum(stats.recorded.values()) + stats.dropped == 10_002
    found = steps(sink)
    assert found == sorted(set(found))
    assert len(found) == stats.recorded["scalar.logged"]


def test_memory_stays_bounded_while_a_disk_hangs_whatever_the_trainer_does():
    run, _, disk = faulty_run(buffer_bytes=50_000, reserve_bytes=10_000, close_timeout=0.2)
    disk.gate.clear()
    for step in range(20_000):
        run.emit(events.ScalarLogged, name="a", step=step)
        run.emit(events.LevelChanged, reason="x")
        run.emit(events.ScalarLogged, nonsense=1)
        run.flush(timeout=0)
        run.flush(timeout=0, sync=True)
    assert len(run._core.buffer._entries) < 3 * 60_000 / 30
    assert run._core.wakeup._queue.qsize() < 5
    run.close()
    stats = run.stats()
    assert stats.offered == sum(stats.recorded.values()) + stats.dropped >= 60_000
    disk.gate.set()


def test_a_close_that_was_broken_off_is_finished_by_the_thread_and_written_once(mocker):
    run, sink, disk = faulty_run()
    disk.gate.clear()
    run.emit(events.ScalarLogged, name="a", step=1)
    mocker.patch("esper_telemetry.recorder.writer_thread.wait_until", side_effect=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        run.close("failed")
    mocker.stopall()
    disk.gate.set()
    run.close()
    (finished,) = [event for event in testing.recorded(sink) if event.name == "run.finished"]
    assert finished.data["outcome"] == "failed"
    assert sink.closed


def test_two_threads_may_close_at_once():
    for _ in range(30):
        run, sink, _ = faulty_run()
        run.emit(events.ScalarLogged, name="a", step=1)
        threads = [threading.Thread(target=run.close) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert [event.name for event in testing.recorded(sink)] == ["run.started", "scalar.logged", "run.finished"]
        assert sink.closed


def test_flush_and_close_from_the_writer_thread_do_not_wait_for_themselves(caplog):
    run, sink, disk = faulty_run(close_timeout=600)

    class Closing(logging.Handler):
        flushed = None

        def emit(self, record):
            if self.flushed is None:
                run.emit(events.ScalarLogged, name="logged", step=2)
                self.flushed = run.flush(timeout=600)
                run.close("interrupted")
            raise RuntimeError("a handler that is broken as well")

    handler = Closing()
    logging.getLogger("esper_telemetry").addHandler(handler)
    disk.odd = [MemoryError()]
    try:
        run.emit(events.ScalarLogged, name="a", step=1)
        until(lambda: sink.closed)
    finally:
        logging.getLogger("esper_telemetry").removeHandler(handler)
    assert handler.flushed is False
    assert [event.name for event in testing.recorded(sink)][-1] == "run.finished"
    assert steps(sink) == [1, 2]


def test_a_disk_that_does_not_answer_when_the_record_is_opened_is_an_error_and_not_a_hang(tmp_path, mocker):
    mocker.patch("esper_telemetry.recorder.start._START_TIMEOUT", 0.1)
    gate = threading.Event()
    mocker.patch("esper_telemetry.sinks.FileSink", side_effect=lambda *_, **__: gate.wait(30) and MemorySink())
    with pytest.raises(errors.SinkError, match="did not answer"):
        et.start_run(tmp_path, name="stuck", record=et.RecordOptions(close_timeout=0.1))
    gate.set()


def test_what_a_close_gives_up_while_the_thread_is_at_work_is_counted_once():
    for _ in range(20):
        run, sink, disk = faulty_run(frame_bytes=300, close_timeout=0.01)
        write = disk.sink.write
        disk.sink.write = lambda batch, write=write: (time.sleep(0.002), write(batch))
        for step in range(200):
            run.emit(events.ScalarLogged, name="slow", step=step)
        run.close()
        stats = run.stats()
        last = stats.drops.get(("esper_telemetry.v1.RunFinished", "shutdown"), 0)  # where it got as far as that
        last += stats.recorded.get("run.finished", 0)  # a machine that is slow to call close() has written all
        assert stats.offered == sum(stats.recorded.values()) + stats.dropped == 201 + last
        assert sum(stats.recorded.values()) <= len(testing.recorded(sink))
        until(lambda run=run: not run.stats().writer_alive)
        assert sink.closed


def test_a_machine_without_threads_to_spare_is_an_error_at_the_start_and_not_a_wait(tmp_path, mocker):
    mocker.patch("_thread.start_new_thread", side_effect=RuntimeError("can't start new thread"))
    with pytest.raises(errors.SinkError, match="no thread can be started for the record: can't start new thread"):
        et.start_run(tmp_path, name="short of threads")
