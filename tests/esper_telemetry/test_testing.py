"""The twins that are shipped for tests."""

import pytest

from esper_telemetry import errors, events, testing


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
