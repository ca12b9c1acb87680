"""The policy: masked options are never drawn, and what it says of an action stays the same afterwards."""

import math

import pytest
import torch

from esper.simic.actions import HEADS, LifecycleOp
from esper.simic.policy import LSTMPolicy, MaskedHeads, UniformPolicy, relevance

SIZES = [len(options) for options in HEADS.values()]
OPTIONS = sum(SIZES)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_masks(*shape, seed=0):
    masks = torch.rand((*shape, OPTIONS), generator=generator(seed)) < 0.5
    for start in (0, 4, 7, 12):
        masks[..., start] = True
    return masks


def allowed(masks, actions):
    parts = torch.split(masks, SIZES, dim=-1)
    columns = [part.gather(-1, actions[..., n : n + 1]) for n, part in enumerate(parts)]
    return torch.cat(columns, dim=-1)


def test_a_masked_option_is_never_drawn():
    masks = random_masks(5000)
    heads = MaskedHeads(torch.randn((5000, OPTIONS), generator=generator()) * 3, masks, SIZES)
    assert allowed(masks, heads.sample(generator(1))).all()
    assert allowed(masks, heads.best()).all()


def test_options_are_drawn_as_often_as_their_probability_says():
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0]).repeat(200_000, 1)
    masks = torch.tensor([True, True, True, False]).repeat(200_000, 1)
    heads = MaskedHeads(logits, masks, [4])
    shares = torch.bincount(heads.sample(generator()).flatten(), minlength=4) / 200_000
    expected = torch.tensor([0.0, 1.0, 2.0]).softmax(0).tolist()
    assert shares.tolist() == pytest.approx([*expected, 0.0], abs=0.005)


def test_probabilities_and_entropies_are_those_of_the_options_left():
    masks = torch.tensor([[True, True, False, False]])
    heads = MaskedHeads(torch.zeros(1, 4), masks, [4])
    assert heads.log_prob(torch.tensor([[0]])).item() == pytest.approx(math.log(0.5))
    assert heads.entropy().item() == pytest.approx(math.log(2.0))
    forced = MaskedHeads(torch.randn(1, 4), torch.tensor([[False, True, False, False]]), [4])
    assert forced.entropy().item() == 0.0
    assert forced.sample(generator()).item() == 1


def test_a_new_policy_is_nearly_uniform():
    policy = LSTMPolicy(6)
    logits, _, _ = policy(torch.randn(3, 2, 6), policy.initial_state(2))
    assert logits.shape == (3, 2, OPTIONS)
    assert logits.abs().max() < 0.5


def test_an_episode_looked_at_again_gives_what_was_said_step_by_step():
    torch.manual_seed(0)
    policy = LSTMPolicy(6, 16)
    observations, masks = torch.randn(9, 4, 6), random_masks(9, 4)
    state, noise = policy.initial_state(4), generator()
    steps = []
    for seen, mask in zip(observations, masks, strict=True):
        actions, log_probs, values, state = policy.act(seen, mask, state, noise)
        steps.append((actions, log_probs, values))
    actions, log_probs, values = (torch.stack(column) for column in zip(*steps, strict=True))
    again = policy.evaluate(observations, masks, actions)
    assert torch.allclose(again.log_probs, log_probs, atol=1e-6)
    assert torch.allclose(again.values, values, atol=1e-6)


def test_it_remembers_what_it_saw_before():
    torch.manual_seed(0)
    policy = LSTMPolicy(2, 16)
    last = torch.ones(1, 1, 2)
    first = [torch.cat([torch.full((1, 1, 2), value), last]) for value in (-3.0, 3.0)]
    (_, one, _), (_, other, _) = (policy(seen, policy.initial_state(1)) for seen in first)
    assert one[1].item() != other[1].item()


def test_the_uniform_policy_draws_evenly_among_what_is_allowed():
    policy = UniformPolicy()
    masks = torch.ones((100_000, OPTIONS), dtype=torch.bool)
    masks[:, 0] = False
    actions, log_probs, values, _ = policy.act(torch.zeros(100_000, 3), masks, policy.initial_state(1), generator())
    shares = torch.bincount(actions[:, 0], minlength=4) / 100_000
    assert shares.tolist() == pytest.approx([0.0, 1 / 3, 1 / 3, 1 / 3], abs=0.01)
    assert log_probs[0, 0].item() == pytest.approx(-math.log(3.0))
    assert not values.any()


@pytest.mark.parametrize(
    ("op", "heads"),
    [
        (LifecycleOp.WAIT, [1.0, 0.0, 0.0, 0.0]),
        (LifecycleOp.GERMINATE, [1.0, 1.0, 1.0, 1.0]),
        (LifecycleOp.CULL, [1.0, 1.0, 0.0, 0.0]),
        (LifecycleOp.FOSSILIZE, [1.0, 1.0, 0.0, 0.0]),
    ],
)
def test_a_head_matters_for_some_operations_only(op, heads):
    assert relevance(torch.tensor([int(op), 0, 0, 0])).tolist() == heads
