"""What the emitters of a run share."""

import gc
import threading

from esper_telemetry import events, testing
from esper_telemetry.recorder.core import Core
from esper_telemetry.recorder.options import RecordOptions
from esper_telemetry.schema import event_type


def test_a_type_keeps_its_number_whoever_asks_first():
    core = Core(RecordOptions(), testing.FakeClock(), [event_type(events.ScalarLogged)], 4, strict=True)
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(core.known(events.LevelChanged).type_id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [2] * 8
    assert core.known(events.ScalarLogged).type_id == 1
    assert core.names == {1: "esper_telemetry.v1.ScalarLogged", 2: "esper_telemetry.v1.LevelChanged"}


def test_emitters_that_nobody_holds_are_not_kept():
    run, _ = testing.memory_run()
    for epoch in range(1000):
        run.bind(inner_epoch=epoch).emit(events.ScalarLogged, name="x")
    gc.collect()
    assert len(run._core._emitters) <= 2
    run.close()
