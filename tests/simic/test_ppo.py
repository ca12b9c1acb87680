"""PPO: its gradient, its clipping and its early stop; and that it learns what is known to be best."""

import copy
import math

import pytest
import torch

from esper.simic.actions import HEADS, RELEVANT, LifecycleOp
from esper.simic.agent import Agent
from esper.simic.config import PpoConfig
from esper.simic.policy import LSTMPolicy
from esper.simic.ppo import PPO
from esper.simic.rollout import Rollout, advantages_and_returns

OPEN = {"op": [True] * 4, "slot": [True] * 3, "blueprint": [False, True, True, True, True], "blend": [True] * 3}
FEATURES = 5


def collected(policy, *, steps=6, envs=3, seed=0):
    """Whole episodes of random observations and rewards."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.tensor([[option for head in HEADS for option in OPEN[head]]] * envs)
    rollout, state = Rollout(), policy.initial_state(envs)
    for _ in range(steps):
        seen = torch.randn((envs, FEATURES), generator=generator)
        actions, log_probs, values, state = policy.act(seen, masks, state, generator)
        rollout.store(seen, masks, actions, log_probs, values)
        rollout.reward(torch.randn(envs, generator=generator).tolist())
    return rollout.batch()


def made(**change):
    config = PpoConfig(**{"hidden": 16, "lr": 1e-3, **change})
    torch.manual_seed(config.seed)
    policy = LSTMPolicy(FEATURES, config.hidden)
    return policy, PPO(policy, config), config


def plain_gradient(policy, batch, config, entropy_coef):
    """Norm of the gradient of the first pass, from the definition: at ratio 1 it is the policy gradient."""
    policy = copy.deepcopy(policy)
    advantages, returns = advantages_and_returns(batch.rewards, batch.values, config.gamma, config.lam)
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    new = policy.evaluate(batch.observations, batch.masks, batch.actions)
    gain, entropy = 0.0, 0.0
    steps, envs = batch.rewards.shape
    for t in range(steps):
        for env in range(envs):
            op = LifecycleOp(int(batch.actions[t, env, 0]))
            for column, head in enumerate(HEADS):
                if op in RELEVANT[head]:
                    gain = gain + advantages[t, env] * new.log_probs[t, env, column]
                    entropy = entropy + new.entropies[t, env, column]
    loss = config.value_coef * ((returns - new.values) ** 2).mean() - (gain + entropy_coef * entropy) / (steps * envs)
    loss.backward()
    return math.sqrt(sum(float((p.grad**2).sum()) for p in policy.parameters() if p.grad is not None))


def test_grad_norm_is_the_norm_before_clipping():
    policy, ppo, config = made(update_epochs=1, max_grad_norm=1e-3)
    batch = collected(policy)
    known = plain_gradient(policy, batch, config, 0.05)
    result = ppo.update(batch, 0.05)
    assert known > 10 * config.max_grad_norm
    assert result.grad_norm == pytest.approx(known, rel=1e-4)
    clipped = math.sqrt(sum(float((p.grad**2).sum()) for p in policy.parameters()))
    assert clipped == pytest.approx(config.max_grad_norm, rel=1e-3)


def test_the_first_pass_finds_the_policy_where_it_was():
    policy, ppo, _ = made(update_epochs=1)
    metrics = ppo.update(collected(policy), 0.05).metrics
    assert metrics["kl_divergence"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["ratio_min"] == pytest.approx(1.0, abs=1e-5)
    assert metrics["ratio_max"] == pytest.approx(1.0, abs=1e-5)
    assert metrics["clip_fraction"] == 0.0
    assert metrics["update_epochs"] == 1
    assert metrics["entropy_coef"] == 0.05


def test_an_update_stops_when_the_policy_has_moved_too_far():
    policy, ppo, config = made(update_epochs=50, lr=0.02)
    before = [parameter.clone() for parameter in policy.parameters()]
    metrics = ppo.update(collected(policy), 0.0).metrics
    assert metrics["update_epochs"] < 50
    assert metrics["kl_divergence"] > 1.5 * config.target_kl
    assert any(not torch.equal(old, new) for old, new in zip(before, policy.parameters(), strict=True))


def test_a_pass_that_is_not_finite_makes_no_step():
    policy, ppo, _ = made()
    batch = collected(policy)
    batch.rewards[0, 0] = float("nan")
    before = [parameter.clone() for parameter in policy.parameters()]
    result = ppo.update(batch, 0.05)
    assert all(torch.equal(old, new) for old, new in zip(before, policy.parameters(), strict=True))
    assert result.metrics["update_epochs"] == 0
    assert math.isnan(result.metrics["policy_loss"])
    assert math.isnan(result.grad_norm)


def test_a_head_that_never_mattered_has_no_statistics_and_learns_nothing():
    policy, ppo, _ = made(update_epochs=3)
    batch = collected(policy)
    batch.actions[..., 0] = int(LifecycleOp.CULL)
    new = policy.evaluate(batch.observations, batch.masks, batch.actions)
    batch.log_probs.copy_(new.log_probs.detach())
    before = policy.heads.weight.clone()
    metrics = ppo.update(batch, 0.05).metrics
    assert [head["head"] for head in metrics["heads"]] == ["op", "slot"]
    blueprint_and_blend = slice(7, None)
    assert torch.equal(policy.heads.weight[blueprint_and_blend], before[blueprint_and_blend])
    assert not torch.equal(policy.heads.weight[:7], before[:7])


def test_values_that_know_the_returns_explain_all_variance():
    policy, ppo, config = made(update_epochs=1)
    batch = collected(policy)
    for _ in range(60):  # with V = R the advantages are 0 and the returns are V again
        _, returns = advantages_and_returns(batch.rewards, batch.values, config.gamma, 1.0)
        batch.values.copy_(returns)
    assert ppo.update(batch, 0.0).metrics["explained_variance"] == pytest.approx(1.0, abs=1e-5)


class Signals:
    """A small environment with a known best action.

    Each step shows one of four signals. The right operation for it earns a half; for all but WAIT the right
    slot earns the other half. The best policy earns 1 a step, a uniform one 0.19.
    """

    STEPS, ENVS = 8, 16

    def __init__(self, seed):
        self._generator = torch.Generator().manual_seed(seed)

    def episode(self, agent):
        """Let the agent act through an episode of every environment; the mean reward of a step."""
        signals = torch.randint(4, (self.STEPS, self.ENVS), generator=self._generator)
        agent.begin_batch()
        total = 0.0
        for shown in signals:
            observations = torch.nn.functional.one_hot(shown, 4).to(torch.float32).tolist()
            decision = agent.decide(observations, [OPEN] * self.ENVS)
            pairs = zip(shown.tolist(), decision.indices, strict=True)
            rewards = [self.reward(signal, op, slot) for signal, (op, slot, _, _) in pairs]
            agent.reward(rewards)
            total += sum(rewards)
        return total / (self.STEPS * self.ENVS)

    @staticmethod
    def reward(signal, op, slot):
        return 0.0 if op != signal else 1.0 if signal == 0 or slot == signal - 1 else 0.5


def trained(policy, seed, batches):
    config = PpoConfig(
        policy=policy, seed=seed, n_envs=Signals.ENVS, max_epochs=Signals.STEPS, hidden=32, lr=3e-3, entropy_batches=50
    )
    agent, world = Agent(config, features=4), Signals(seed)
    means = []
    for batch in range(1, batches + 1):
        means.append(world.episode(agent))
        agent.learn(config.entropy_coef(batch))
    return means


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (3, 4, 5))])
def test_ppo_finds_the_known_best_action_on_every_seed(seed):
    means = trained("ppo", seed, 80)
    assert means[0] < 0.3
    assert sum(means[-5:]) / 5 > 0.97


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_random_policy_does_not(seed):
    means = trained("random", seed, 10)
    assert sum(means) / 10 < 0.25
