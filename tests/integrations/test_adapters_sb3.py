"""Stable-Baselines3 and sb3-contrib with the adapter: what is in the record is what the environments executed."""

from __future__ import annotations

import pytest

pytest.importorskip("stable_baselines3", exc_type=ImportError)
contrib = pytest.importorskip("sb3_contrib", exc_type=ImportError)

import stable_baselines3 as sb3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

import esper_telemetry as et
from esper_telemetry.integrations.sb3 import EsperCallback
from tests.integrations.masked_env import MaskedEnv, chosen_in, masked_in

pytestmark = pytest.mark.integrations

ENVS, STEPS = 3, 32


def environments(sizes=(4,)):
    made = [MaskedEnv(sizes, seed) for seed in range(ENVS)]
    return made, DummyVecEnv([lambda env=env: Monitor(env) for env in made])


def train(model, total, folder, *more, **options):
    with et.start_run(folder, name="sb3") as run:
        model.learn(total, callback=[EsperCallback(run, **options), *more])
    return list(et.read(run.folder))


def of(events, name):
    return [event.data for event in events if event.type == name]


def counted(events, head="action"):
    """Return by option how often it was chosen, and masked, in the counters of the record."""
    chosen: dict[str, int] = {}
    masked: dict[str, int] = {}
    for data in of(events, "policy.action_distribution"):
        if data["head"] == head:
            for option, count in data["action_counts"].items():
                chosen[option] = chosen.get(option, 0) + count
    for data in of(events, "policy.mask_hit_rates"):
        for one in data["heads"]:
            if one["head"] == head:
                for option, count in zip(one["options"], one["masked"], strict=True):
                    masked[option] = masked.get(option, 0) + count
    return [chosen[option] for option in sorted(chosen)], [masked[option] for option in sorted(masked)]


def assert_episodes_are_those_of(made, events):
    """Every episode that ended is recorded once, with the length and return that its environment saw."""
    episodes = of(events, "episode.completed")
    for env, one in enumerate(made):
        own = [data for data in episodes if data["env_id"] == env]
        steps = sum(data["length"] for data in own)
        assert len(one.seen) - steps < 12  # the last one is still running
        assert sum(data["episode_return"] for data in own) == pytest.approx(sum(one.rewards[:steps]), abs=1e-3)
    assert sum(data["episodes"] for data in of(events, "rollout.completed")) == len(episodes)


def test_ppo(tmp_path):
    made, envs = environments()
    model = sb3.PPO("MlpPolicy", envs, n_steps=STEPS, batch_size=32, n_epochs=2, device="cpu", seed=1)
    events = train(model, 4 * STEPS * ENVS, tmp_path)
    assert counted(events)[0] == chosen_in(made)[0]
    updates = of(events, "ppo.update_completed")
    assert [data["batch_idx"] for data in updates] == [1, 2, 3, 4]  # the logger itself dumps the last one never
    assert updates[-1]["total_updates"] == 8
    assert updates[0]["entropy"] > 0
    assert {"policy_loss", "value_loss", "kl_divergence", "clip_fraction", "lr", "clip_range"} <= updates[0].keys()
    rollouts = of(events, "rollout.completed")
    assert [data["total_steps"] for data in rollouts] == [STEPS * ENVS * batch for batch in (1, 2, 3, 4)]
    assert_episodes_are_those_of(made, events)
    (config,) = of(events, "run.configured")
    assert '"algorithm":"PPO"' in config["config_json"]
    names = {name for data in of(events, "scalars.logged") for name in data["scalars"]}
    assert {"time/fps", "rollout/ep_rew_mean", "train/loss"} <= names


@pytest.mark.parametrize("sizes", [(4,), (3, 2)], ids=["one-head", "two-heads"])
def test_maskable_ppo_records_the_masks_that_were_in_force(tmp_path, sizes):
    made, envs = environments(sizes)
    model = contrib.MaskablePPO("MlpPolicy", envs, n_steps=STEPS, batch_size=32, n_epochs=1, device="cpu", seed=1)
    events = train(model, 3 * STEPS * ENVS, tmp_path)
    heads = ["action"] if len(sizes) == 1 else ["action_0", "action_1"]
    found = [counted(events, head) for head in heads]
    assert [chosen for chosen, _ in found] == chosen_in(made)
    assert [masked for _, masked in found] == masked_in(made)
    heads_counted = [one for data in of(events, "policy.mask_hit_rates") for one in data["heads"]]
    assert sum(one["invalid_selected"] for one in heads_counted) == 0
    assert sum(one["total"] for one in heads_counted) == len(sizes) * sum(len(env.seen) for env in made)


def test_what_a_callback_stops_in_the_middle_of_a_rollout_is_recorded(tmp_path):
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls < STEPS + 7

    made, envs = environments()
    model = contrib.MaskablePPO("MlpPolicy", envs, n_steps=STEPS, batch_size=32, n_epochs=1, device="cpu")
    events = train(model, 9 * STEPS * ENVS, tmp_path, Stop())
    chosen, masked = counted(events)
    assert sum(chosen) == ENVS * (STEPS + 7)
    assert (chosen, masked) == (chosen_in(made)[0], masked_in(made)[0])
    assert of(events, "rollout.completed")[-1]["steps"] == ENVS * 7


def test_dqn_records_off_policy_updates_and_few_events(tmp_path):
    made, envs = environments()
    model = sb3.DQN("MlpPolicy", envs, learning_starts=30, train_freq=1, device="cpu", seed=1)
    events = train(model, 600, tmp_path, every=150)
    assert counted(events)[0] == chosen_in(made)[0]
    assert not of(events, "ppo.update_completed")
    updates = of(events, "off_policy.update_completed")
    assert 3 <= len(updates) <= 6
    assert {"critic_loss", "lr", "exploration_rate", "total_updates"} <= updates[-1].keys()
    assert len(of(events, "policy.action_distribution")) <= 6
    assert of(events, "rollout.completed")[-1]["total_steps"] == 600


def test_sac_with_continuous_actions_has_updates_and_no_heads(tmp_path):
    model = sb3.SAC("MlpPolicy", "Pendulum-v1", learning_starts=20, device="cpu", seed=1)
    events = train(model, 80, tmp_path, every=20)
    assert not of(events, "policy.action_distribution")
    assert {"actor_loss", "critic_loss", "temperature"} <= of(events, "off_policy.update_completed")[-1].keys()


def test_a2c_and_a_second_learn_go_on_in_the_same_run(tmp_path):
    made, envs = environments()
    model = sb3.A2C("MlpPolicy", envs, n_steps=8, device="cpu", seed=1)
    with et.start_run(tmp_path, name="sb3") as run:
        callback = EsperCallback(run)
        model.learn(8 * ENVS * 2, callback=callback)
        model.learn(8 * ENVS * 2, callback=callback, reset_num_timesteps=False)
    events = list(et.read(run.folder))
    assert counted(events)[0] == chosen_in(made)[0]
    assert [data["batch_idx"] for data in of(events, "ppo.update_completed")] == [1, 2, 3, 4]
    assert "policy_loss" in of(events, "ppo.update_completed")[0]
    assert of(events, "rollout.completed")[-1]["total_steps"] == 8 * ENVS * 4
    assert run.stats().dropped == 0
