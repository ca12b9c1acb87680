"""The agent: decides for all environments, remembers a batch, and goes on from its state."""

from __future__ import annotations

import copy

import pytest
import torch

from esper.simic.agent import Agent
from esper.simic.config import PpoConfig

CONFIG = PpoConfig(n_envs=2, max_epochs=3, hidden=8)
MASKS = {"op": [True, True, False, False], "slot": [True] * 3, "blueprint": [False] + [True] * 4, "blend": [True] * 3}


def episode(agent, seed=0):
    generator = torch.Generator().manual_seed(seed)
    agent.begin_batch()
    indices = []
    for _ in range(3):
        decision = agent.decide(torch.randn((2, 4), generator=generator).tolist(), [MASKS, MASKS])
        indices.append(decision.indices)
        agent.reward(torch.randn(2, generator=generator).tolist())
    return indices


def weights(agent):
    return [parameter.clone() for parameter in agent.policy.parameters()]


def same(one, other):
    return all(torch.equal(left, right) for left, right in zip(one, other, strict=True))


def test_indices_are_those_of_the_device_and_allowed():
    agent = Agent(CONFIG, features=4)
    decision = agent.decide([[0.0] * 4] * 2, [MASKS, MASKS])
    assert decision.indices == decision.actions.tolist()
    assert decision.masks.tolist()[0] == [o for head in ("op", "slot", "blueprint", "blend") for o in MASKS[head]]
    assert all(op in (0, 1) and blueprint != 0 for op, _, blueprint, _ in decision.indices)


def test_a_seed_fixes_everything_and_nothing_else_does():
    torch.manual_seed(1)
    first = Agent(CONFIG, features=4)
    torch.manual_seed(2)
    second = Agent(CONFIG, features=4)
    other = Agent(PpoConfig(**{**CONFIG.to_mapping(), "seed": 2, "slots": CONFIG.slots, "devices": CONFIG.devices}), 4)
    assert same(weights(first), weights(second))
    assert not same(weights(first), weights(other))
    torch.manual_seed(3)
    drawn = episode(first)
    torch.manual_seed(4)
    assert episode(second) == drawn


def test_making_an_agent_leaves_the_global_random_state_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    Agent(CONFIG, features=4)
    assert torch.equal(torch.rand(3), expected)


def test_learning_changes_the_policy_and_counts_updates():
    agent = Agent(CONFIG, features=4)
    before = weights(agent)
    episode(agent)
    update = agent.learn(0.05)
    assert update.metrics["update_epochs"] >= 1
    assert agent.updates == 1
    assert not same(before, weights(agent))


@pytest.mark.parametrize("policy", ["random", "wait"])
def test_a_control_learns_nothing(policy):
    agent = Agent(PpoConfig(n_envs=2, policy=policy), features=4)
    episode(agent)
    assert agent.learn(0.05) is None
    assert agent.updates == 0


def test_an_agent_goes_on_from_its_state():
    first, second = Agent(CONFIG, features=4), Agent(CONFIG, features=4)
    episode(first)
    first.learn(0.05)
    second.load(copy.deepcopy(first.state()))
    assert episode(second, seed=1) == episode(first, seed=1)
    assert second.learn(0.05) == first.learn(0.05)
    assert same(weights(first), weights(second))


def test_a_batch_starts_without_memory_of_the_one_before():
    agent = Agent(CONFIG, features=4)
    seen = [[1.0, -1.0, 2.0, 0.5]] * 2
    first = agent.decide(seen, [MASKS, MASKS]).values
    later = agent.decide(seen, [MASKS, MASKS]).values
    agent.begin_batch()
    again = agent.decide(seen, [MASKS, MASKS]).values
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
