"""Levels of telemetry over one and the same training: what is recorded differs, what is learned does not."""

from __future__ import annotations

import time
from collections import Counter

import pytest
import torch

import esper_telemetry
from esper.kasmina.lifecycle import LIVE
from esper.simic.training import HeuristicConfig, train_heuristic
from esper.tasks import load_task
from esper.telemetry import SCHEMAS, TELEMETRY_LEVELS, open_hub
from esper_telemetry.schema import LEVELS, effective_level, event_classes, event_type
from esper_telemetry.sinks.file import FileSink

CONFIG = HeuristicConfig(episodes=1, max_epochs=27, seed=1)  # its first seed is kept after 25 epochs


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Two threads sum in another order: only runs on one can be compared bit by bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Recorded as often as time passes: two trainings alike may differ in how many there are.
BY_THE_CLOCK = {"run.progress", "run.heartbeat", "system.sampled"}


@pytest.fixture(scope="module")
def digits():
    return load_task("digits")


@pytest.fixture(scope="module")
def silent(digits):
    """The weights of a training that nobody listens to."""
    return train_heuristic(digits, CONFIG).host.state_dict()


def equal(weights, others):
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


def of(events, *types):
    return [event.data for event in events if event.type in types]


def names_up_to(level):
    return {
        event_type(cls).name for module in SCHEMAS for cls in event_classes(module) if event_type(cls).level <= level
    }


@pytest.fixture(scope="module")
def matrix(digits, tmp_path_factory):
    """Every level with and without the flag, of one training: (final weights, events, fast modes seen)."""
    runs = {}
    for level in TELEMETRY_LEVELS:
        for flag in (False, True):
            modes = set()

            def progress(environment, _result, modes=modes):
                modes.update(slot.fast_mode for slot in environment.slots.values())

            folder = tmp_path_factory.mktemp(f"{level}-{flag}")
            with open_hub(folder, name="test", level=level, lifecycle_only=flag) as hub:
                on = {"telemetry_enabled": level != "off", "lifecycle_only": flag}
                result = train_heuristic(digits, CONFIG, progress=progress, **on)
            assert hub.run.stats().dropped == 0
            events = list(esper_telemetry.read(hub.run.folder))
            runs[level, flag] = (result.host.state_dict(), events, modes)
    return runs


@pytest.mark.parametrize("level", TELEMETRY_LEVELS)
@pytest.mark.parametrize("flag", [False, True])
def test_a_level_records_what_the_schema_says(matrix, level, flag):
    _, events, _ = matrix[level, flag]
    everything = {event.type for event in matrix["debug", False][1]} - BY_THE_CLOCK
    frame = {"run.started", "run.finished"}
    wanted = names_up_to(effective_level(level, lifecycle_only=flag)) & everything
    notice = {"telemetry.disabled"} if level == "off" else set()
    assert {event.type for event in events} - BY_THE_CLOCK == wanted | frame | notice


def test_off_is_one_notice_in_an_otherwise_empty_record_and_slots_in_fast_mode(matrix):
    _, events, modes = matrix["off", False]
    assert [event.type for event in events] == ["run.started", "telemetry.disabled", "run.finished"]
    assert not events[1].data["lifecycle_only"]
    assert modes == {True}


def test_off_with_the_flag_lets_seed_events_flow_and_says_so(matrix):
    _, events, modes = matrix["off", True]
    assert events[1].type == "telemetry.disabled"
    assert events[1].data["lifecycle_only"] is True
    assert [event.type for event in events].count("telemetry.disabled") == 1
    kept = ("seed.germinated", "seed.stage_changed", "seed.culled", "seed.fossilized")
    full = matrix["debug", False][1]
    assert of(full, "seed.germinated")
    assert of(events, *kept) == of(full, *kept)
    assert modes == {False}


def test_the_flag_is_a_floor_and_takes_nothing_away(matrix):
    for level in TELEMETRY_LEVELS:
        if LEVELS[level] >= LEVELS["lifecycle"]:
            plain, flagged = (
                Counter(e.type for e in matrix[level, flag][1] if e.type not in BY_THE_CLOCK) for flag in (False, True)
            )
            assert plain == flagged


@pytest.mark.parametrize("level", TELEMETRY_LEVELS)
@pytest.mark.parametrize("flag", [False, True])
def test_telemetry_never_changes_what_is_learned(matrix, silent, level, flag):
    assert equal(matrix[level, flag][0], silent)


@pytest.mark.parametrize("disk", ["slow", "failing"])
def test_a_bad_disk_never_changes_what_is_learned(digits, silent, tmp_path, monkeypatch, disk):
    real = FileSink.write

    def write(self, batch):
        if disk == "failing":
            raise OSError(28, "No space left on device")
        time.sleep(0.5)
        real(self, batch)

    with open_hub(tmp_path, name="test", level="debug") as hub:
        monkeypatch.setattr(FileSink, "write", write)
        result = train_heuristic(digits, CONFIG)
    assert equal(result.host.state_dict(), silent)
    assert bool(hub.run.stats().dropped) is (disk == "failing")


def test_seeds_were_planted_and_blended_in_the_runs_that_are_compared(matrix):
    reached = {data["to_stage"] for data in of(matrix["debug", False][1], "seed.stage_changed")}
    assert reached >= {stage.name for stage in LIVE}
