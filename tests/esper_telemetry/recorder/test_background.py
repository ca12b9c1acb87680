"""The threads beside the program: their deaths are seen, their end is bounded, what they say is not the program's."""

from __future__ import annotations

import threading
import time

import pytest

import esper_telemetry as et
from esper_telemetry.errors import SinkError
from esper_telemetry.recorder.background import Companion
from esper_telemetry.testing import memory_run, recorded
from esper_telemetry.v1 import run_pb2
from esper_telemetry.v1.process_pb2 import RunHeartbeat


def die(_stopping):
    raise SystemExit("a bug")


def test_a_death_shows_in_the_statistics_of_the_run_which_goes_on():
    run, _ = memory_run()
    companion = Companion("sick one", die)
    run._core.background.accompany(companion)
    companion.stop(5.0)
    run.emit(et.events.ScalarLogged, name="x", value=1.0)
    assert run.stats().deaths == {"sick one": "SystemExit('a bug')"}
    run.close()
    assert run.stats().dropped == 0


def test_a_death_is_raised_where_the_user_asked_for_that():
    run, _ = memory_run(record=et.RecordOptions(on_error="raise"))
    companion = Companion("sick one", die)
    run._core.background.accompany(companion)
    companion.stop(5.0)
    with pytest.raises(SinkError, match="sick one has died"):
        run.emit(et.events.ScalarLogged, name="x", value=1.0)
    with pytest.raises(SinkError, match="sick one has died"):
        run.close()


def test_all_companions_share_the_time_of_a_close():
    release = threading.Event()
    run, _ = memory_run(record=et.RecordOptions(close_timeout=0.2))
    for number in range(20):
        companion = Companion(f"hanging one {number}", lambda _: release.wait())
        run._core.background.accompany(companion)
    begun = time.monotonic()
    run.close()
    assert time.monotonic() - begun < 20 * 0.2
    release.set()


def silence_ends(run):
    """Tell whether the run counts as one in which the program has said something since the last call."""
    heartbeat = run._core.housekeeping.heartbeat
    before = heartbeat._stored
    run._core.housekeeping.beat()
    return heartbeat._stored > before


def test_what_its_threads_say_is_not_the_programs():
    run, _ = memory_run(record=et.RecordOptions(flush_interval=3600.0))
    silence_ends(run)
    run._core.background.emit("samples", RunHeartbeat(idle_s=1.0))
    run._core.background.emit("losses", run_pb2.DropReport(total_dropped=1))
    assert not silence_ends(run)
    run.emit(et.events.ScalarLogged, name="x", value=1.0)
    assert silence_ends(run)
    assert not silence_ends(run)
    run.close()


def test_what_its_threads_say_follows_the_level():
    run, sink = memory_run(level="lifecycle")
    run._core.background.emit("heartbeat", RunHeartbeat(idle_s=1.0))
    run._core.background.emit("losses", run_pb2.DropReport(total_dropped=1))
    run.close()
    assert [event.name for event in recorded(sink)] == ["run.started", "telemetry.dropped", "run.finished"]


def test_an_interrupt_while_a_companion_is_waited_for_takes_nothing_from_the_end():
    class Interrupted:
        name, error = "interrupted one", None

        def stop(self, _timeout):
            raise once.pop()

    once = [KeyboardInterrupt]
    run, sink = memory_run()
    run._core.background.accompany(Interrupted())
    with pytest.raises(KeyboardInterrupt):
        run.close()
    run._core.background._companions.clear()
    run.close()
    assert [event.name for event in recorded(sink)] == ["run.started", "run.finished"]
