"""One host through real epochs: what it measures is compared with the same thing measured plainly."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from esper.kasmina.lifecycle import Stage
from esper.simic.environment import Environment
from esper.tasks import Split, load_task

WAITS_FOR_THE_DEVICE = {
    "aten._local_scalar_dense.default",
    "aten.nonzero.default",
    "aten.equal.default",
    "aten.is_nonzero.default",
    "aten.item.default",
}


@pytest.fixture(scope="module")
def task():
    return load_task("synthetic")


def make(task, **change):
    return Environment(task, **{"seed": 1, "episode": 0, **change})


def epoch(environment, number=1, *, terminal=False):
    environment.begin_epoch(number, 1, terminal=terminal)
    for images, labels in environment.batches():
        environment.train_step(images, labels)
    environment.validate()
    return environment.read(environment.measure())


def blend_in(environment, slot_id="mid", stage=Stage.BLENDING):
    assert environment.germinate(slot_id, "conv_light", "linear")
    slot = environment.slots[slot_id]
    slot.state.stage, slot.state.alpha = stage, 1.0
    return slot


def weights(environment):
    return torch.cat([parameter.detach().flatten().clone() for parameter in environment.model.parameters()])


class Sentinel(TorchDispatchMode):
    """Names the operations that ran."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.add(str(func))
        return func(*args, **(kwargs or {}))


def test_an_epoch_measures_what_a_plain_evaluation_finds(task):
    environment = make(task)
    losses, hits, norms = [], 0, []
    environment.begin_epoch(1, 1, terminal=True)
    for images, labels in environment.batches():
        with torch.no_grad():  # the same forward pass; batch statistics are put back
            kept = {name: value.clone() for name, value in environment.model.state_dict().items()}
            logits = environment.model(images)
            environment.model.load_state_dict(kept)
        losses.append(float(torch.nn.functional.cross_entropy(logits, labels)))
        hits += int((logits.argmax(dim=1) == labels).sum())
        environment.train_step(images, labels)
        squares = [float(p.grad.square().sum()) for p in environment.model.host_parameters()]
        norms.append(sum(squares) ** 0.5)
    environment.validate()
    result = environment.read(environment.measure())

    assert len(losses) == 3
    assert result.train_loss == pytest.approx(sum(losses) / 3, rel=1e-5)
    assert result.train_accuracy == 100 * hits / 96
    assert result.grad_norm == pytest.approx(sum(norms) / 3, rel=1e-5)
    environment.model.eval()
    with torch.no_grad():
        logits = environment.model(task.val.images)
        tested = environment.model(task.test.images)
    assert result.val_accuracy == 100 * int((logits.argmax(1) == task.val.labels).sum()) / 128
    assert result.val_loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, task.val.labels)), rel=1e-5)
    assert result.test_accuracy == 100 * int((tested.argmax(1) == task.test.labels).sum()) / 96


def test_the_test_set_is_looked_at_in_the_terminal_epoch_only(task):
    assert epoch(make(task)).test_accuracy is None


def test_one_packed_tensor_leaves_the_device_and_nothing_else_waits_for_it(task):
    environment = make(task)
    blend_in(environment)
    environment.begin_epoch(1, 1, terminal=True)
    batches = list(environment.batches())
    with Sentinel() as sentinel:
        for images, labels in batches:
            environment.train_step(images, labels)
        environment.validate()
        packed = environment.measure()
    assert packed.dim() == 1
    assert "aten.convolution.default" in sentinel.seen
    assert not sentinel.seen & WAITS_FOR_THE_DEVICE


def test_a_seed_is_measured_with_its_ratio_its_health_and_its_contribution(task):
    environment = make(task)
    slot = blend_in(environment)
    result = epoch(environment)
    metrics = slot.state.metrics
    assert metrics.epochs_in_current_stage == 1
    assert 0.0 < metrics.gradient_ratio <= 10.0
    assert metrics.healthy is True
    assert metrics.accuracy == result.val_accuracy
    with slot.force_alpha(0.0), torch.no_grad():
        hits = int((environment.model(task.val.images).argmax(1) == task.val.labels).sum())
    assert metrics.contribution == result.val_accuracy - 100 * hits / 128
    assert result.counterfactuals[1].baseline_accuracy == 100 * hits / 128


def test_without_validation_data_nothing_is_invented(task):
    nothing = Split(task.val.images[:0], task.val.labels[:0])
    environment = make(replace(task, val=nothing, test=nothing))
    blend_in(environment)
    result = epoch(environment, terminal=True)
    assert (result.val_loss, result.val_accuracy, result.test_accuracy) == (None, None, None)
    assert [record.reason for record in result.counterfactuals] == ["no_seed", "empty_eval", "no_seed"]
    assert not environment.must_roll_back(result)


def test_equal_seeds_and_episodes_train_equal_hosts_and_others_do_not(task):
    def trained(**change):
        environment = make(task, **change)
        epoch(environment)
        return weights(environment)

    expected = trained()
    torch.rand(7)
    assert torch.equal(trained(), expected)
    assert not torch.equal(trained(seed=2), expected)
    assert not torch.equal(trained(episode=1), expected)


def test_a_seed_in_training_leaves_the_host_as_it_would_be_without_it(task):
    plain, growing = make(task), make(task)
    growing.germinate("late", "conv_heavy", "gated")
    growing.end_epoch()
    assert growing.slots["late"].stage == Stage.TRAINING
    before = [parameter.detach().clone() for parameter in growing.slots["late"].seed.parameters()]
    epoch(plain)
    epoch(growing)
    for one, other in zip(plain.model.host_parameters(), growing.model.host_parameters(), strict=True):
        assert torch.equal(one, other)
    after = growing.slots["late"].seed.parameters()
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_seed_that_is_gone_is_trained_no_more(task):
    environment = make(task)
    slot = blend_in(environment)
    seed = slot.seed
    assert environment.cull("mid", "policy")
    environment.end_epoch()
    before = [parameter.detach().clone() for parameter in seed.parameters()]
    epoch(environment)
    assert all(torch.equal(a, b) for a, b in zip(before, seed.parameters(), strict=True))


def test_seeds_are_counted_by_fate(task):
    environment = make(task)
    for slot_id in ("early", "mid", "late"):
        environment.germinate(slot_id, "norm", "linear")
    assert not environment.germinate("mid", "norm", "linear")
    environment.cull("early")
    assert not environment.cull("early")
    assert not environment.fossilize("mid")
    kept = environment.slots["late"].state
    kept.stage, kept.metrics.contribution, kept.metrics.healthy = Stage.PROBATIONARY, 5.0, True
    assert environment.fossilize("late")
    fates = environment.fates
    assert (fates.germinated, fates.culled, fates.fossilized, fates.live) == (3, 1, 1, 1)


def test_seed_ids_are_unique_over_episodes(task):
    made = [make(task, episode=number) for number in (0, 1)]
    for environment in made:
        environment.germinate("early", "norm", "linear")
        environment.germinate("mid", "norm", "linear")
    seed_ids = [slot.state.seed_id for environment in made for slot in environment.slots.values() if slot.state]
    assert len(set(seed_ids)) == 4


def test_epochs_since_a_cull_are_counted_from_the_first_one(task):
    environment = make(task)
    environment.begin_epoch(1, 1, terminal=False)
    assert environment.epochs_since_cull is None
    environment.germinate("mid", "norm", "linear")
    environment.cull("mid")
    assert environment.epochs_since_cull == 0
    environment.begin_epoch(2, 1, terminal=False)
    assert environment.epochs_since_cull == 1


def test_a_rollback_brings_back_the_last_good_epoch_and_forgets_momentum(task):
    environment = make(task)
    epoch(environment)
    environment.end_epoch()
    good = weights(environment)
    blend_in(environment)
    with torch.no_grad():
        environment.model.head.weight.fill_(float("nan"))
    result = epoch(environment, 2)
    assert environment.must_roll_back(result)
    assert environment.roll_back() == -10.0
    environment.end_epoch()
    assert torch.equal(weights(environment), good)
    assert (environment.fates.rollbacks, environment.fates.culled, environment.fates.live) == (1, 1, 0)
    assert environment.slots["mid"].stage == Stage.EMBARGOED
    # It trains on as a host that starts from these weights: no momentum of the bad epoch is left.
    assert not environment._optimizer.state
    assert epoch(environment, 3).val_loss < 10


def test_a_state_with_a_bad_loss_is_not_remembered(task):
    environment = make(task)
    epoch(environment)
    environment.end_epoch()
    good = weights(environment)
    for _ in range(10):
        environment.governor.check_vital_signs(1.0)
    spike = replace(epoch(environment, 2), val_loss=50.0)
    assert not environment.must_roll_back(spike)  # the first of three
    environment.end_epoch()
    environment.roll_back()
    assert torch.equal(weights(environment), good)


def test_time_is_taken_around_the_steps_and_the_waits(task):
    environment = make(task)
    epoch(environment)
    timing = environment.timing
    assert (timing.steps, timing.samples) == (3, 96)
    assert timing.step_seconds > 0.0
    assert timing.wait_seconds > 0.0
