"""What a slot says; the first test is the plan's, word for word."""

from __future__ import annotations

import pytest

from esper.kasmina.slot import SeedSlot
from esper.telemetry import TelemetryEventType


def test_lifecycle_events_include_alpha_and_epochs(mocker):
    from esper.kasmina.slot import SeedSlot

    slot = SeedSlot(slot_id="mid", channels=64, device="cpu", task_config=None, on_telemetry=mocker.Mock())
    slot.state = mocker.Mock(
        seed_id="s1",
        stage=mocker.Mock(name="TRAINING"),
        alpha=0.3,
        metrics=mocker.Mock(epochs_in_current_stage=2),
    )
    slot._emit_telemetry(event_type=mocker.Mock(), data={"alpha": 0.3, "inner_epoch": 5, "global_epoch": 12})
    emitted = slot.on_telemetry.call_args[0][0]
    assert emitted.data["alpha"] == 0.3
    assert emitted.data["inner_epoch"] == 5
    assert emitted.data["global_epoch"] == 12


@pytest.fixture
def events():
    return []


@pytest.fixture
def slot(events):
    slot = SeedSlot("mid", 8, "cpu", None, events.append)
    slot.begin_epoch(4, 2)
    return slot


def plant(slot):
    return slot.germinate("norm", blend_id="sigmoid", seed_id="s1", random_seed=1, accuracy=50.0)


def test_every_event_says_where_in_the_life_and_in_the_loop_it_happened(slot, events):
    plant(slot)
    slot.begin_epoch(5, 2)
    slot.advance()
    slot.cull("policy")
    slot.advance()
    assert len(events) == 8
    for event in events:
        assert event.data["slot_id"] == "mid"
        assert event.data["seed_id"] == "s1"
        assert event.data["blueprint_id"] == "norm"
        assert event.data["alpha"] == 0.0
        assert event.data["global_epoch"] == 2
    assert [event.data["inner_epoch"] for event in events] == [4] * 3 + [5] * 5


def test_what_was_not_measured_is_left_out(slot, events):
    plant(slot)
    changed = next(e.data for e in events if e.event_type is TelemetryEventType.SEED_STAGE_CHANGED)
    assert "gradient_ratio" not in changed
    assert "accuracy_delta" not in changed


@pytest.mark.parametrize(
    ("fast_mode", "lifecycle_only", "speaks"),
    [(False, False, True), (True, False, False), (True, True, True), (False, True, True)],
)
def test_fast_mode_silences_a_slot_unless_lifecycle_events_are_wanted(slot, events, fast_mode, lifecycle_only, speaks):
    slot.fast_mode, slot.lifecycle_only = fast_mode, lifecycle_only
    plant(slot)
    assert bool(events) is speaks
    assert slot.is_live


def test_a_slot_nobody_listens_to_does_its_work():
    assert plant(SeedSlot("mid", 8))


def test_a_seed_that_outlives_its_episode_is_told_and_stays(slot, events):
    plant(slot)
    slot.end_episode()
    assert events[-1].event_type is TelemetryEventType.SEED_ENDED
    assert events[-1].data["stage"] == "GERMINATED"
    assert slot.is_live
    slot.cull("policy")
    told = len(events)
    slot.end_episode()
    assert len(events) == told, "its fate is known"
