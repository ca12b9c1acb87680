from __future__ import annotations

import pytest
import torch

from esper.kasmina.host import GrowingHost
from esper.kasmina.lifecycle import Stage
from esper.simic.counterfactual import Counterfactual, counterfactuals, slots_to_measure, validate
from esper.tasks import load_task


@pytest.fixture
def host():
    return GrowingHost(1, 4, seed=1)


def put(host, slot_id, stage, alpha=0.0):
    slot = host.seed_slots[slot_id]
    slot.germinate("conv_light", blend_id="linear", seed_id=f"seed-{slot_id}", random_seed=2)
    slot.state.stage, slot.state.alpha = stage, alpha
    return slot


@pytest.mark.parametrize(
    ("mode", "terminal", "measured"),
    [("every", False, True), ("every", True, True), ("final", False, False), ("final", True, True)]
    + [("off", terminal, False) for terminal in (False, True)],
)
def test_the_mode_says_in_which_epochs_is_measured(host, mode, terminal, measured):
    put(host, "mid", Stage.BLENDING, 0.2)
    assert slots_to_measure(host.seed_slots, mode, terminal=terminal) == (["mid"] if measured else [])


@pytest.mark.parametrize(
    ("stage", "alpha", "measured"),
    [
        (Stage.GERMINATED, 0.0, False),
        (Stage.TRAINING, 0.0, False),
        (Stage.BLENDING, 0.2, True),
        (Stage.PROBATIONARY, 1.0, True),
        (Stage.FOSSILIZED, 1.0, False),
    ],
)
def test_only_a_live_seed_that_is_blended_in_can_be_taken_away(host, stage, alpha, measured):
    put(host, "mid", stage, alpha)
    assert bool(slots_to_measure(host.seed_slots, "every", terminal=True)) is measured


def test_hits_without_a_seed_are_those_of_a_network_without_it(host):
    task = load_task("synthetic")
    early, late = put(host, "early", Stage.BLENDING, 1.0), put(host, "late", Stage.PROBATIONARY, 1.0)
    sums = validate(host, task.val.batches(50), [early, late])

    def hits():
        host.eval()
        return float((host(task.val.images).argmax(dim=1) == task.val.labels).sum())

    assert sums.shape == (4,)
    assert float(sums[1]) == hits()
    for slot, measured in ((early, sums[2]), (late, sums[3])):
        stage, slot.state.stage = slot.stage, Stage.DORMANT
        assert float(measured) == hits()
        slot.state.stage = stage
    assert len({float(value) for value in sums[1:]}) == 3  # else nothing was told apart
    loss = torch.nn.functional.cross_entropy(host(task.val.images), task.val.labels, reduction="sum")
    assert float(sums[0]) == pytest.approx(float(loss.detach()), rel=1e-5)


def test_validation_changes_nothing(host):
    before = {name: tensor.clone() for name, tensor in host.state_dict().items()}
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    validate(host, load_task("synthetic").val.batches(50))
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in host.state_dict().items())


def test_no_data_give_no_hits(host):
    assert validate(host, [], list(host.seed_slots.values())).tolist() == [0.0] * 5


@pytest.mark.parametrize(
    ("stage", "alpha", "mode", "real", "baseline", "reason"),
    [
        (None, 0.0, "every", 80.0, None, "no_seed"),
        (Stage.GERMINATED, 0.0, "every", 80.0, None, "alpha_zero"),
        (Stage.TRAINING, 0.0, "every", 80.0, None, "alpha_zero"),
        (Stage.FOSSILIZED, 1.0, "every", 80.0, None, "fossilized"),
        (Stage.BLENDING, 0.2, "every", None, None, "empty_eval"),
        (Stage.BLENDING, 0.2, "final", 80.0, None, "missing_baseline"),
        (Stage.BLENDING, 0.2, "off", 80.0, None, "disabled"),
        (None, 0.0, "off", 80.0, None, "disabled"),
        (Stage.BLENDING, 0.2, "every", 80.0, 75.0, None),
        (Stage.PROBATIONARY, 1.0, "final", 80.0, 85.0, None),
    ],
)
def test_every_slot_has_a_record_measured_or_with_a_reason(  # noqa: PLR0917 - a table has columns
    host, stage, alpha, mode, real, baseline, reason
):
    if stage is not None:
        put(host, "mid", stage, alpha)
    baselines = {} if baseline is None else {"mid": baseline}
    records = counterfactuals(host.seed_slots, mode, real_accuracy=real, baselines=baselines)
    assert [record.slot_id for record in records] == ["early", "mid", "late"]
    mid = records[1]
    assert mid.reason == reason
    assert mid.seed_id == (None if stage is None else "seed-mid")
    assert mid.contribution == (None if reason else real - baseline)


def test_an_emptied_slot_has_no_seed_although_it_remembers_the_last_one(host):
    put(host, "mid", Stage.BLENDING, 0.5).cull("policy")
    record = counterfactuals(host.seed_slots, "every", real_accuracy=80.0, baselines={})[1]
    assert record == Counterfactual("mid", None, "no_seed")
