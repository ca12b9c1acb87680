"""A slot through the whole life of a seed, on real features."""

from __future__ import annotations

import contextlib
import itertools

import pytest
import torch

from esper.kasmina.lifecycle import GateLimits, LifecycleError, Stage
from esper.kasmina.slot import MEASURES, SeedSlot, own_randomness
from esper.telemetry import TelemetryEventType

GOOD = [1.0, 1.0, 1.0]


@pytest.fixture
def events():
    return []


@pytest.fixture
def slot(events):
    return SeedSlot("mid", 8, "cpu", None, events.append)


def plant(slot, blueprint_id="conv_light", blend_id="linear"):
    assert slot.germinate(blueprint_id, blend_id=blend_id, seed_id="s1", random_seed=3, accuracy=50.0)


def observe(slot):
    """Leave gradients in the seed and look at them, as a training step does."""
    for parameter in slot.seed_parameters():
        parameter.grad = torch.ones_like(parameter)
    slot.observe_gradients(torch.tensor(1.0), 100)


def live(slot, epochs, *, accuracy=51.0, contribution=None):
    """Let epochs pass in which everything that can be measured is."""
    for epoch in range(1, epochs + 1):
        slot.begin_epoch(epoch, 1)
        observe(slot)
        slot.record_epoch(slot.measure().tolist(), accuracy=accuracy, contribution=contribution)
        slot.advance()


def grow(slot, stage):
    """Bring a planted seed to a stage."""
    slot.advance()
    for _ in range(30):
        if slot.stage == stage:
            return
        live(slot, 1)
    pytest.fail(f"never reached {stage.name}")


def hops(events):
    changed = [event.data for event in events if event.event_type is TelemetryEventType.SEED_STAGE_CHANGED]
    return [(data["from_stage"], data["to_stage"]) for data in changed]


def types(events):
    return [event.event_type.name for event in events]


def test_an_empty_slot_passes_its_features_on(slot):
    features = torch.randn(2, 8, 4, 4)
    assert slot(features) is features
    assert (slot.stage, slot.alpha, slot.active_params()) == (Stage.DORMANT, 0.0, 0)


def test_a_kept_seed_makes_every_hop_and_each_is_an_event(slot, events):
    plant(slot)
    grow(slot, Stage.PROBATIONARY)
    live(slot, 1, contribution=2.0)
    assert slot.fossilize()
    chain = ["DORMANT", "GERMINATED", "TRAINING", "BLENDING", "PROBATIONARY", "FOSSILIZED"]
    assert hops(events) == list(itertools.pairwise(chain))
    assert types(events).count("SEED_GERMINATED") == 1
    fossil = events[-1].data
    assert (fossil["contribution"], fossil["accuracy_delta"], fossil["params_added"]) == (2.0, 1.0, 592)
    assert fossil["epochs_total"] == 9


def test_a_discarded_seed_leaves_a_slot_that_rests_and_is_made_ready(slot, events):
    plant(slot)
    grow(slot, Stage.TRAINING)
    live(slot, 1)
    assert slot.cull("policy")
    assert (slot.stage, slot.seed) == (Stage.CULLED, None)
    slot.advance()
    stages = []
    for _ in range(6):
        stages.append(slot.stage)
        live(slot, 1)
    assert stages == [Stage.EMBARGOED] * 5 + [Stage.RESETTING]
    assert slot.state is None
    chain = ["CULLED", "EMBARGOED", "RESETTING", "DORMANT"]
    assert hops(events)[-3:] == list(itertools.pairwise(chain))
    assert events[-1].data["seed_id"] == "s1"


def test_a_blend_takes_five_epochs_and_reaches_one_before_probation(slot, events):
    plant(slot)
    grow(slot, Stage.BLENDING)
    alphas = []
    while slot.stage == Stage.BLENDING:
        alphas.append(slot.alpha)
        live(slot, 1)
    assert alphas == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert (slot.stage, slot.alpha) == (Stage.PROBATIONARY, 1.0)
    progress = [e.data for e in events if e.event_type is TelemetryEventType.SEED_BLEND_PROGRESSED]
    assert [data["alpha"] for data in progress] == pytest.approx(alphas)
    assert [data["epochs_done"] for data in progress] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("blend_id", ["linear", "sigmoid", "gated"])
def test_a_training_seed_learns_without_being_seen(slot, blend_id):
    plant(slot, blend_id=blend_id)
    slot.advance()
    assert slot.stage == Stage.TRAINING
    before = torch.randn(2, 8, 4, 4, requires_grad=True)
    after = slot(before)
    assert torch.equal(after, before)
    after.square().sum().backward()
    # The host's gradient is that of the identity: the seed's input is detached.
    assert torch.equal(before.grad, 2 * before.detach())
    assert all(parameter.grad is not None for parameter in slot.seed.parameters())


def test_a_blended_seed_changes_the_features_and_teaches_the_host(slot):
    plant(slot)
    grow(slot, Stage.BLENDING)
    before = torch.randn(2, 8, 4, 4, requires_grad=True)
    after = slot(before)
    expected = torch.lerp(before, slot.seed(before), 0.2)
    assert torch.equal(after, expected)
    after.square().sum().backward()
    assert not torch.allclose(before.grad, 2 * before.detach())


def test_without_its_alpha_a_blended_seed_is_not_there_and_comes_back_after(slot):
    plant(slot)
    grow(slot, Stage.PROBATIONARY)
    features = torch.randn(2, 8, 4, 4)
    with slot.force_alpha(0.0):
        assert slot(features) is features
    with contextlib.suppress(ZeroDivisionError), slot.force_alpha(0.0):
        raise ZeroDivisionError
    assert slot.alpha == 1.0
    assert torch.equal(slot(features), slot.seed(features))


def test_a_slot_that_is_not_empty_takes_no_seed(slot, events):
    plant(slot)
    seen = len(events)
    assert not slot.germinate("norm", blend_id="linear", seed_id="s2", random_seed=1)
    assert (slot.state.seed_id, len(events)) == ("s1", seen)


def test_gate_g0_refuses_a_seed_without_a_name(slot, events):
    assert not slot.germinate("norm", blend_id="linear", seed_id="", random_seed=1)
    assert slot.stage == Stage.DORMANT
    assert types(events) == ["SEED_GATE_EVALUATED"]
    assert events[0].data["passed"] is False


def test_a_fossil_cannot_be_culled_and_an_empty_slot_neither(slot):
    assert not slot.cull("policy")
    plant(slot)
    grow(slot, Stage.PROBATIONARY)
    live(slot, 1, contribution=2.0)
    assert slot.fossilize()
    assert not slot.cull("policy")
    assert slot.stage == Stage.FOSSILIZED


def test_a_seed_whose_contribution_was_not_measured_is_not_kept(slot, events):
    plant(slot)
    grow(slot, Stage.PROBATIONARY)
    live(slot, 1, contribution=None)
    assert not slot.fossilize()
    (contribution, _) = events[-1].data["checks"]
    assert contribution == {"metric": "contribution", "value": None, "threshold": 1.0, "passed": False}


def test_only_a_seed_on_probation_asks_gate_g5(slot, events):
    plant(slot)
    grow(slot, Stage.TRAINING)
    seen = len(events)
    assert not slot.fossilize()
    assert len(events) == seen


def test_gates_look_at_measurements_and_not_at_defaults(slot):
    plant(slot)
    slot.advance()
    for _ in range(5):
        slot.record_epoch(slot.measure().tolist(), accuracy=60.0, contribution=None)
        slot.advance()
    assert slot.state.metrics.gradient_ratio is None
    assert slot.stage == Stage.TRAINING


def test_a_noop_has_no_gradients_and_never_passes_g2(slot):
    plant(slot, "noop")
    slot.advance()
    live(slot, 5, accuracy=90.0)
    assert (slot.stage, slot.state.metrics.healthy) == (Stage.TRAINING, True)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["weight", "gradient"])
def test_a_seed_is_unhealthy_if_one_weight_or_gradient_is_not_finite(slot, bad, where):
    plant(slot)
    slot.advance()
    slot.begin_epoch(1, 1)
    if where == "weight":
        with torch.no_grad():
            slot.seed_parameters()[0].view(-1)[0] = bad
    observe(slot)
    if where == "gradient":
        slot.seed_parameters()[0].grad.view(-1)[0] = bad
        slot.observe_gradients(torch.tensor(1.0), 100)
    slot.record_epoch(slot.measure().tolist(), accuracy=60.0, contribution=None)
    assert slot.state.metrics.healthy is False


def test_a_measurement_has_the_length_it_says(slot):
    assert slot.measure().shape == (MEASURES,)
    plant(slot)
    assert slot.measure().shape == (MEASURES,)


def test_young_seeds_are_drawn_apart_from_every_other_random_number(slot):
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    plant(slot, "conv_light", "gated")
    assert torch.equal(torch.rand(4), expected)


def test_equal_seeds_of_randomness_give_equal_seeds():
    made = [SeedSlot("mid", 8) for _ in range(2)]
    for number, one in enumerate(made):
        torch.manual_seed(number)
        plant(one)
    first, second = (one.seed_parameters() for one in made)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_randomness_of_ones_own_restores_the_state_after_an_error():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    with pytest.raises(ZeroDivisionError), own_randomness(1):
        raise ZeroDivisionError
    assert torch.equal(torch.rand(4), expected)


def test_a_move_that_is_not_allowed_names_the_slot_and_what_is(slot):
    plant(slot)
    with pytest.raises(LifecycleError, match=r"'mid'.*GERMINATED to BLENDING.*TRAINING, CULLED"):
        slot._move(Stage.BLENDING)


def test_a_listener_that_fails_leaves_no_half_discarded_seed(slot):
    plant(slot)
    grow(slot, Stage.PROBATIONARY)
    slot.on_telemetry = lambda _event: 1 / 0
    with pytest.raises(ZeroDivisionError):
        slot.cull("policy")
    assert (slot.stage, slot.seed, slot.alpha) == (Stage.CULLED, None, 0.0)


def test_durations_and_thresholds_can_be_configured():
    slot = SeedSlot("mid", 8, "cpu", GateLimits(blend_epochs=2, min_blending_epochs=2))
    plant(slot)
    grow(slot, Stage.BLENDING)
    assert slot.alpha == 0.5
    live(slot, 2)
    assert slot.stage == Stage.PROBATIONARY
