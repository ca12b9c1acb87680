"""The twins that are shipped for tests."""

import threading

import pytest

import esper_telemetry as et
from esper_telemetry import errors, events, testing
from esper_telemetry.recordfile import RecordReader
from tests.esper_telemetry.collectorprocess import wait_until


def test_a_memory_run_behaves_like_a_run_on_disk():
    run, sink = testing.memory_run()
    run.emit(events.ScalarLogged, name="loss", value=0.5)
    run.close()
    assert [event.name for event in testing.recorded(sink)] == ["run.started", "scalar.logged", "run.finished"]
    assert testing.recorded(sink)[1].data == {"name": "loss", "value": 0.5}
    assert sink.closed


def test_a_memory_run_is_strict_by_default():
    run, _ = testing.memory_run()
    with pytest.raises(errors.SchemaError):
        run.emit(events.ScalarLogged, nonsense=1)
    run.close()


def test_a_fake_clock_moves_when_it_is_told():
    clock = testing.FakeClock(wall=10, monotonic=20)
    clock.advance(1.5)
    assert (clock.wall_ns(), clock.monotonic_ns()) == (1_500_000_010, 1_500_000_020)


def test_a_collector_at_hand_stores_what_a_run_sends(tmp_path):
    with testing.running_collector(tmp_path / "collected") as address:
        with et.start_run(tmp_path / "runs", name="test", collector=address) as run:
            run.emit(events.ScalarLogged, name="loss", value=0.5)
        wait_until(lambda: "complete" in (run.folder / "agent.log").read_text())
    (stored,) = (tmp_path / "collected" / run.run_id).glob("*.esr.zst")
    with RecordReader(stored) as collected, RecordReader(run.paths[0]) as local:
        assert collected.closed
        assert list(collected.events()) == list(local.events())


def test_a_second_collector_on_a_folder_is_refused_and_leaves_nothing_running(tmp_path):
    with testing.running_collector(tmp_path), pytest.raises(errors.ConfigError), testing.running_collector(tmp_path):
        pass
    assert "collector" not in {thread.name for thread in threading.enumerate()}
