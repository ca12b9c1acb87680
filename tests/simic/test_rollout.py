"""Advantages against a plain loop over their definition, and the running scale of rewards."""

import numpy as np
import pytest
import torch

from esper.simic.rollout import RewardScale, Rollout, advantages_and_returns


def by_definition(rewards, values, gamma, lam):
    steps = len(rewards)
    values = [*values, 0.0]
    deltas = [rewards[t] + gamma * values[t + 1] - values[t] for t in range(steps)]
    return [sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, steps)) for t in range(steps)]


def test_advantages_follow_their_definition():
    generator = torch.Generator().manual_seed(0)
    rewards = torch.randn((7, 3), generator=generator)
    values = torch.randn((7, 3), generator=generator)
    advantages, returns = advantages_and_returns(rewards, values, 0.9, 0.8)
    for env in range(3):
        expected = by_definition(rewards[:, env].tolist(), values[:, env].tolist(), 0.9, 0.8)
        assert advantages[:, env].tolist() == pytest.approx(expected, abs=1e-5)
    assert torch.equal(returns, advantages + values)


def test_with_lambda_one_the_return_is_the_discounted_sum():
    rewards = torch.tensor([[1.0], [2.0], [4.0]])
    _, returns = advantages_and_returns(rewards, torch.tensor([[5.0], [6.0], [7.0]]), 0.5, 1.0)
    assert returns.flatten().tolist() == pytest.approx([3.0, 4.0, 4.0])


def test_a_batch_stacks_the_steps_and_scales_the_rewards():
    rollout = Rollout()
    for step in range(3):
        columns = (torch.full((2, 4), step), torch.ones(2, 5, dtype=torch.bool), torch.zeros(2, 4, dtype=torch.int64))
        rollout.store(*columns, torch.zeros(2, 4), torch.zeros(2))
        rollout.reward([step, -step])
    batch = rollout.batch(reward_scale=2.0)
    assert batch.observations.shape == (3, 2, 4)
    assert batch.masks.shape == (3, 2, 5)
    assert batch.rewards.tolist() == [[0.0, 0.0], [0.5, -0.5], [1.0, -1.0]]


def test_a_step_without_its_reward_is_an_error():
    rollout = Rollout()
    rollout.store(*(torch.zeros(1, 1),) * 4, torch.zeros(1))
    with pytest.raises(ValueError, match="1 steps were stored with 0 rewards"):
        rollout.batch()


def test_the_scale_is_the_deviation_of_all_returns_so_far():
    rng = np.random.default_rng(0)
    scale, returns = RewardScale(0.9), []
    for _ in range(3):
        rewards = rng.normal(2.0, 3.0, (6, 2)).tolist()
        for column in zip(*rewards, strict=True):
            total = 0.0
            for reward in reversed(column):
                total = reward + 0.9 * total
                returns.append(total)
        scale.update(rewards)
    assert scale.scale == pytest.approx(np.std(returns))


def test_rewards_that_do_not_differ_are_left_as_they_are():
    assert RewardScale(0.9).update([[0.0], [0.0]]) == 1.0


def test_a_scale_goes_on_from_its_state():
    first, second = RewardScale(0.9), RewardScale(0.9)
    first.update([[1.0], [2.0]])
    second.load(first.state())
    assert second.update([[5.0]]) == first.update([[5.0]])
