"""The governor on a real host; the first test is the plan's, word for word."""

from __future__ import annotations

import math

import pytest
import torch

from esper.kasmina.host import GrowingHost
from esper.kasmina.lifecycle import Stage
from esper.telemetry import TelemetryEventType
from esper.tolaria.governor import GovernorError, TolariaGovernor

GUESS = math.log(10)


def test_governor_rollback_includes_env_and_device(mocker):
    from esper.tolaria.governor import TolariaGovernor

    model = mocker.Mock(parameters=lambda: iter([mocker.Mock(device="cuda:0")]))
    gov = TolariaGovernor(model)
    gov.last_good_state = {"w": mocker.Mock(to=lambda *a, **k: mocker.Mock())}
    # force panic path to emit event
    hub = mocker.patch("esper.tolaria.governor.get_hub")
    hub.return_value = mocker.Mock()
    gov.execute_rollback()
    event = hub.return_value.emit.call_args[0][0]
    assert event.data["device"] == "cuda:0"


@pytest.fixture
def events(mocker):
    """What the governor hands to the hub, in order."""
    seen = []
    mocker.patch("esper.tolaria.governor.get_hub").return_value.emit = seen.append
    return seen


@pytest.fixture
def host():
    return GrowingHost(1, 10, seed=1)


@pytest.fixture
def governor(host, events):
    return TolariaGovernor(host)


def plant(slot, stage=Stage.BLENDING):
    slot.germinate("norm", blend_id="linear", seed_id=f"seed-{slot.slot_id}", random_seed=1)
    slot.state.stage, slot.state.alpha = stage, 1.0


def spoil(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(float("nan"))


# When it panics.


def test_the_constructor_touches_nothing(mocker):
    model = mocker.Mock()
    TolariaGovernor(model)
    assert model.mock_calls == []


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_is_a_panic_at_once_and_has_no_threshold(governor, events, loss):
    assert governor.check_vital_signs(loss, env_id=2, context={"inner_epoch": 7})
    (event,) = events
    assert event.event_type is TelemetryEventType.GOVERNOR_PANICKED
    assert event.data["reason"] == "non_finite_loss"
    assert event.data["loss"] == pytest.approx(loss, nan_ok=True)
    assert "threshold" not in event.data
    assert (event.data["env_id"], event.data["device"], event.data["inner_epoch"]) == (2, "cpu", 7)


def test_a_network_that_had_learned_and_guesses_again_is_a_lobotomy(governor, events):
    assert not governor.check_vital_signs(0.5)
    assert governor.check_vital_signs(GUESS)
    assert events[0].data["reason"] == "lobotomy"
    assert events[0].data["threshold"] == pytest.approx(GUESS * (1 - 0.065))


@pytest.mark.parametrize("loss", [GUESS * 0.93, GUESS * 1.07])
def test_a_bad_loss_away_from_guessing_is_no_lobotomy(governor, loss):
    governor.check_vital_signs(0.5)
    assert not governor.check_vital_signs(loss)


def test_a_network_that_never_learned_may_guess(governor):
    governor.check_vital_signs(0.7 * GUESS)
    assert not governor.check_vital_signs(GUESS)


def test_a_spike_is_a_panic_the_third_time_running(governor, events):
    for _ in range(10):
        assert not governor.check_vital_signs(1.0)
    assert [governor.check_vital_signs(50.0) for _ in range(3)] == [False, False, True]
    assert events[0].data["consecutive_panics"] == 3
    assert (events[0].data["loss"], events[0].data["threshold"]) == (50.0, 12.0)


def test_a_good_loss_between_two_spikes_starts_the_count_again(governor):
    for _ in range(10):
        governor.check_vital_signs(1.0)
    losses = [50.0, 50.0, 1.0, 50.0, 50.0]
    assert not any(governor.check_vital_signs(loss) for loss in losses)


def test_no_spike_is_told_before_ten_losses_are_known(governor):
    for _ in range(9):
        governor.check_vital_signs(1.0)
    assert not governor.check_vital_signs(50.0)
    assert governor.consecutive_panics == 0


@pytest.mark.parametrize(("loss", "anomalies"), [(28.9, 0), (29.1, 1)])
def test_every_spike_threshold_must_be_crossed(host, loss, anomalies):
    governor = TolariaGovernor(host, ceiling=0.0)
    for known in [1.0, 9.0] * 5:
        governor.check_vital_signs(known)
    # Mean 5, sigma 4: the highest threshold is 5 + 6·4 = 29, over 3·5.
    governor.check_vital_signs(loss)
    assert governor.consecutive_panics == anomalies


def test_anomalies_are_not_remembered_as_history(governor):
    for _ in range(10):
        governor.check_vital_signs(1.0)
    for _ in range(30):
        governor.check_vital_signs(50.0)
    assert governor.check_vital_signs(50.0)


# What it restores.


def test_a_rollback_restores_parameters_and_buffers_exactly(host, governor):
    host(torch.randn(4, 1, 8, 8))
    before = {name: tensor.clone() for name, tensor in host.state_dict().items()}
    governor.snapshot()
    host(torch.randn(4, 1, 8, 8))
    spoil(host)
    governor.execute_rollback()
    assert all(torch.equal(tensor, before[name]) for name, tensor in host.state_dict().items())
    assert host.state_dict()["blocks.0.1.num_batches_tracked"].dtype == torch.int64


def test_a_snapshot_does_not_move_with_the_training(host, governor):
    packed = governor.pack_state()
    governor.adopt(packed)
    weight = host.head.weight.detach().clone()
    packed.zero_()
    spoil(host)
    governor.execute_rollback()
    assert torch.equal(host.head.weight, weight)


def test_live_seeds_are_not_remembered_and_are_dropped(host, governor, events):
    plant(host.seed_slots["mid"])
    governor.snapshot()
    assert not any(name.startswith("slots.") for name in governor.last_good_state)
    governor.execute_rollback()
    assert host.seed_slots["mid"].stage == Stage.CULLED
    assert events[-1].data["dropped_seed_ids"] == ["seed-mid"]


def test_a_fossil_is_remembered_and_stays(host, governor, events):
    plant(host.seed_slots["mid"], Stage.FOSSILIZED)
    governor.snapshot()
    spoil(host.seed_slots["mid"])
    governor.execute_rollback()
    slot = host.seed_slots["mid"]
    assert slot.stage == Stage.FOSSILIZED
    assert all(torch.isfinite(parameter).all() for parameter in slot.parameters())
    assert events[-1].data["dropped_seed_ids"] == []


def test_a_seed_kept_after_the_packing_is_in_the_snapshot(host, governor):
    slot = host.seed_slots["mid"]
    plant(slot, Stage.PROBATIONARY)
    packed = governor.pack_state()
    slot.state.stage = Stage.FOSSILIZED
    governor.adopt(packed)
    spoil(slot)
    governor.execute_rollback()
    assert all(torch.isfinite(parameter).all() for parameter in slot.parameters())


def test_a_seed_planted_after_the_packing_does_not_confuse_it(host, governor):
    packed = governor.pack_state()
    plant(host.seed_slots["early"])
    governor.adopt(packed)
    spoil(host)
    governor.execute_rollback()
    assert torch.isfinite(host(torch.randn(2, 1, 8, 8))).all()


def test_without_a_snapshot_nothing_is_touched_and_the_error_says_what_to_do(host, governor, events):
    plant(host.seed_slots["mid"])
    with pytest.raises(GovernorError, match=r"snapshot\(\)"):
        governor.execute_rollback()
    assert host.seed_slots["mid"].is_live
    assert events == []


# What it says.


def test_a_rollback_reports_the_panic_as_it_was_before_the_reset(governor, events):
    governor.snapshot()
    for _ in range(10):
        governor.check_vital_signs(1.0)
    for _ in range(3):
        governor.check_vital_signs(50.0)
    assert governor.execute_rollback(env_id=3, context={"global_epoch": 9}) == -10.0
    data = events[-1].data
    assert events[-1].event_type is TelemetryEventType.GOVERNOR_ROLLED_BACK
    assert (data["reason"], data["loss"], data["threshold"]) == ("loss_spike", 50.0, 12.0)
    assert (data["consecutive_panics"], data["reward_penalty"]) == (3, -10.0)
    assert (data["env_id"], data["device"], data["global_epoch"]) == (3, "cpu", 9)
    assert governor.consecutive_panics == 0


def test_a_rollback_without_a_panic_was_asked_for(governor, events):
    governor.snapshot()
    governor.execute_rollback()
    assert events[-1].data["env_id"] == 0
    assert events[-1].data["reason"] == "requested"
    assert "loss" not in events[-1].data


def test_a_telemetry_that_fails_neither_stops_nor_alters_a_rollback(host, mocker, caplog):
    mocker.patch("esper.tolaria.governor.get_hub", side_effect=OSError("disk is gone"))
    governor = TolariaGovernor(host)
    governor.snapshot()
    for slot in host.seed_slots.values():
        plant(slot)
        slot.on_telemetry = mocker.Mock(side_effect=OSError("disk is gone"))
    weight = host.head.weight.detach().clone()
    assert governor.check_vital_signs(float("nan"))
    spoil(host)
    assert governor.execute_rollback() == -10.0
    assert torch.equal(host.head.weight, weight)
    assert {slot.stage for slot in host.seed_slots.values()} == {Stage.CULLED}
    assert governor.consecutive_panics == 0
    assert "disk is gone" in caplog.text
