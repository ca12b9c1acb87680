"""Two records side by side."""

from __future__ import annotations

import math

import pytest

import esper_telemetry
from esper_telemetry.decode import Filter, compare, partings, record_files
from esper_telemetry.v1 import training_pb2


@pytest.fixture
def recorded(record_run):
    def record(values, *, epochs=1, time_ms=1.0, **options):
        def emit(run):
            for value in values:
                run.emit(training_pb2.ScalarLogged, name="loss", value=value)
            seat = run.bind(env_id=0, device="cpu", inner_epoch=1, global_epoch=1)
            for _ in range(epochs):
                seat.emit(training_pb2.EpochCompleted, val_accuracy=50.0, epoch_time_ms=time_ms)

        return record_files(record_run(emit, **options))

    return record


def given(found):
    """Return the settings that differ and were given; what git answers in time depends on how busy the machine is."""
    return [tuple(pair) for pair in found.settings if not pair[0].startswith("git.")]


def test_settings_that_differ_are_named(recorded):
    left = recorded([1.0], config={"lr": 0.1, "net": {"width": 4}}, tags={"group": "a"})
    right = recorded([1.0], config={"lr": 0.2, "net": {"width": 4}}, tags={"group": "b"})
    found = compare(left, right)
    assert given(found) == [("tags.group", "a", "b"), ("config.lr", 0.1, 0.2)]
    assert not found.types
    assert not [pair for pair in found.fields if pair.type == "scalar.logged"]


def test_settings_that_came_after_the_start_count_too_and_lists_are_compared_whole(record_run):
    def add(run):
        run.update_config({"net": {"width": 4}})

    left = record_files(record_run(add, config={"layers": [1, 2], "net": {"width": 1}}))
    right = record_files(record_run(lambda _: None, config={"layers": [3, 2], "net": {"width": 4}}))
    found = compare(left, right)
    assert given(found) == [("config.layers", "[1,2]", "[3,2]")]


def test_counts_and_numbers_that_differ_are_named(recorded):
    found = compare(recorded([1.0, 3.0]), recorded([3.0, 3.0, 3.0], epochs=2))
    assert [tuple(pair) for pair in found.types] == [("scalar.logged", 2, 3), ("epoch.completed", 1, 2)]
    (value,) = [pair for pair in found.fields if (pair.type, pair.name) == ("scalar.logged", "value")]
    assert (value.left.mean, value.right.mean, value.change) == (2.0, 3.0, 0.5)


def test_results_stand_side_by_side(tmp_path, recorded):
    with pytest.raises(ZeroDivisionError), esper_telemetry.start_run(tmp_path, name="x", run_id="x"):
        1 / 0  # noqa: B018 - the run is to fail
    results = {
        pair.name: (pair.left, pair.right) for pair in compare(recorded([]), record_files(tmp_path / "x")).results
    }
    assert results["outcome"] == ("completed", "failed")
    assert results["error_type"] == (None, "ZeroDivisionError")


def test_a_repeated_run_holds_the_same_events_whatever_its_clock_said(recorded):
    left = recorded([1.0, math.nan], time_ms=5.0)
    right = recorded([1.0, math.nan], time_ms=6.0)
    assert list(partings(left, right)) == []


def test_the_first_event_that_is_different_is_named(recorded):
    (parting,) = partings(recorded([1.0, 2.0, 4.0]), recorded([1.0, 3.0, 4.0]))
    assert (parting.stream, parting.rank, parting.alike) == ("main", 0, 1)
    assert (parting.left.data["value"], parting.right.data["value"]) == (2.0, 3.0)


def test_an_end_that_comes_early_is_a_parting(recorded):
    only_scalars = Filter(types=("scalar.*",))
    (parting,) = partings(recorded([1.0]), recorded([1.0, 2.0]), only_scalars)
    assert parting.left is None
    assert parting.right.data["value"] == 2.0


def test_streams_are_held_against_their_twins(tmp_path, recorded):
    for rank in range(2):
        with esper_telemetry.start_run(tmp_path, name="r", run_id="r", rank=rank) as run:
            run.emit(training_pb2.ScalarLogged, name="n", value=float(rank))
    both = record_files(tmp_path / "r")
    assert list(partings(both, both)) == []
    alone = [path for path in both if "-r0-" in path.name]
    (parting,) = partings(both, alone)
    assert (parting.rank, parting.alike, parting.right) == (1, 0, None)
