"""Counters in the loops of other libraries: the record has what the environments themselves executed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import esper_telemetry as et
from esper_telemetry.counters import CounterSpec, DeviceCounters, HostCounters, emit_snapshot, from_space
from tests.integrations.masked_env import MaskedEnv, chosen_in, masked_in

gym = pytest.importorskip("gymnasium")
pytestmark = pytest.mark.integrations

BATCHES, STEPS, ENVS = 4, 128, 4


class Recorded:
    """A bank, a run, and what of them is in the record at the end."""

    def __init__(self, bank, folder):
        self.bank = bank
        self.run = et.start_run(folder, name="loop")
        self.batch = 0

    def flush(self):
        self.batch += 1
        self.bank.flush(batch_idx=self.batch)
        for snapshot in self.bank.poll():
            emit_snapshot(self.run, snapshot)

    def close(self):
        """Return by head the counts chosen and masked, and all that the record says beside them."""
        for snapshot in self.bank.close():
            emit_snapshot(self.run, snapshot)
        self.run.close()
        events = list(et.read(self.run.folder))
        heads = list(self.bank.spec.heads)
        chosen = {head: np.zeros(len(options), int) for head, options in self.bank.spec.heads.items()}
        masked = {head: np.zeros(len(options), int) for head, options in self.bank.spec.heads.items()}
        beside = {"invalid_rows": 0, "left_out": 0, "doubtful": 0, "empty": 0, "invalid_selected": 0}
        for event in events:
            if event.type == "policy.action_distribution":
                chosen[event.data["head"]] += list(event.data["action_counts"].values())
            if event.type == "policy.mask_hit_rates":
                for head in event.data["heads"]:
                    masked[head["head"]] += head["masked"]
                    beside["empty"] += head["empty"]
                    beside["invalid_selected"] += head["invalid_selected"]
            if event.type == "counters.checked":
                for name in ("invalid_rows", "left_out", "doubtful"):
                    beside[name] += event.data[name]
        return [chosen[head].tolist() for head in heads], [masked[head].tolist() for head in heads], beside


@pytest.mark.parametrize("kind", [DeviceCounters, HostCounters])
@pytest.mark.parametrize("autoreset", ["NEXT_STEP", "SAME_STEP"])
@pytest.mark.parametrize("sizes", [(4,), (3, 2)])
def test_a_gymnasium_vector_environment(tmp_path, kind, autoreset, sizes):
    mode = getattr(gym.vector.AutoresetMode, autoreset)
    made = [MaskedEnv(sizes, seed) for seed in range(ENVS)]
    envs = gym.vector.SyncVectorEnv([lambda env=env: env for env in made], autoreset_mode=mode)
    recorded = Recorded(kind(CounterSpec(from_space(envs.single_action_space))), tmp_path)
    given = torch.from_numpy if kind is DeviceCounters else np.asarray
    envs.reset(seed=0)
    done = np.zeros(ENVS, bool)
    rows = 0
    for _ in range(BATCHES):
        for _ in range(STEPS):
            actions = envs.action_space.sample()
            valid = ~done if autoreset == "NEXT_STEP" else np.ones(ENVS, bool)
            recorded.bank.record_step(given(actions), None, valid=given(valid))
            _, _, terminated, truncated, _ = envs.step(actions)
            done = terminated | truncated
            rows += ENVS
        recorded.flush()
    chosen, _, beside = recorded.close()
    executed = sum(len(env.seen) for env in made)
    assert chosen == chosen_in(made)
    assert beside["invalid_rows"] == rows - executed
    assert (rows > executed) is (autoreset == "NEXT_STEP")
    assert beside["left_out"] == beside["doubtful"] == 0


@pytest.mark.parametrize("sizes", [(4,), (3, 2, 3)])
def test_maskable_ppo(tmp_path, sizes):
    sb3_contrib = pytest.importorskip("sb3_contrib")
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import DummyVecEnv

    made = [MaskedEnv(sizes, seed) for seed in range(ENVS)]
    spec = CounterSpec(from_space(made[0].action_space), scalars=("reward",))
    recorded = Recorded(DeviceCounters(spec), tmp_path)

    class Count(BaseCallback):
        def _on_step(self) -> bool:
            actions, masks = self.locals["actions"], self.locals["action_masks"]
            recorded.bank.record_step(
                torch.from_numpy(actions),
                torch.from_numpy(np.asarray(masks, dtype=bool)),
                scalars={"reward": torch.from_numpy(self.locals["rewards"])},
            )
            return True

        def _on_rollout_end(self) -> None:
            recorded.flush()

    model = sb3_contrib.MaskablePPO("MlpPolicy", DummyVecEnv([lambda env=env: env for env in made]), n_steps=STEPS,
                                    batch_size=64, n_epochs=1, seed=0, device="cpu")  # fmt: skip
    model.learn(BATCHES * STEPS * ENVS, callback=Count())
    chosen, masked, beside = recorded.close()
    assert sum(len(env.seen) for env in made) == BATCHES * STEPS * ENVS
    assert (chosen, masked) == (chosen_in(made), masked_in(made))
    assert set(beside.values()) == {0}
    sums = [e.data["sum"] for e in et.read(recorded.run.folder, types="scalar.summarized")]
    assert sum(sums) == pytest.approx(sum(sum(env.rewards) for env in made), rel=1e-5)


def test_a_torchrl_loop_with_masks(tmp_path):
    pytest.importorskip("torchrl")
    from torchrl.envs import GymWrapper
    from torchrl.modules import MaskedOneHotCategorical

    env = MaskedEnv((4,), 0, dict_observation=True)
    wrapped = GymWrapper(env)
    recorded = Recorded(DeviceCounters(CounterSpec(from_space(env.action_space))), tmp_path)
    generator = torch.manual_seed(0)
    assert generator is not None
    state = wrapped.reset()
    for _ in range(BATCHES):
        for _ in range(STEPS):
            mask = state["action_mask"]
            state["action"] = MaskedOneHotCategorical(logits=torch.zeros(4), mask=mask).sample()
            recorded.bank.record_step(state["action"][None], mask[None])
            _, state = wrapped.step_and_maybe_reset(state)
        recorded.flush()
    chosen, masked, beside = recorded.close()
    assert len(env.seen) == BATCHES * STEPS
    assert (chosen, masked) == (chosen_in([env]), masked_in([env]))
    assert set(beside.values()) == {0}


def test_a_loop_in_the_manner_of_cleanrl(tmp_path):
    """Rollout buffers that are written row by row, again in each batch, and the default autoreset."""
    made = [MaskedEnv((4,), seed) for seed in range(ENVS)]
    envs = gym.vector.SyncVectorEnv([lambda env=env: env for env in made])
    agent = torch.nn.Linear(3, 4)
    recorded = Recorded(DeviceCounters(CounterSpec(from_space(envs.single_action_space), scalars=("value",))), tmp_path)
    actions = torch.zeros((STEPS, ENVS))
    dones = torch.zeros((STEPS, ENVS))
    values = torch.zeros((STEPS, ENVS))
    next_obs, _ = envs.reset(seed=0)
    next_done = torch.zeros(ENVS)
    total = 0.0
    for _ in range(BATCHES):
        for step in range(STEPS):
            dones[step] = next_done
            with torch.no_grad():
                logits = agent(torch.Tensor(next_obs))
                action = torch.distributions.Categorical(logits=logits).sample()
                values[step] = logits.amax(1)
            actions[step] = action
            recorded.bank.record_step(actions[step].long(), None, valid=dones[step] == 0)
            recorded.bank.record_scalar("value", values[step], dones[step] == 0)
            total += values[step][dones[step] == 0].double().sum().item()
            next_obs, _, terminated, truncated, _ = envs.step(action.cpu().numpy())
            next_done = torch.Tensor(np.logical_or(terminated, truncated))
        recorded.flush()
    chosen, _, beside = recorded.close()
    executed = sum(len(env.seen) for env in made)
    assert chosen == chosen_in(made)
    assert beside["invalid_rows"] == BATCHES * STEPS * ENVS - executed > 0
    assert beside["left_out"] == beside["doubtful"] == 0
    summaries = [e.data for e in et.read(recorded.run.folder, types="scalar.summarized")]
    assert sum(one["count"] for one in summaries) == executed
    assert sum(one["sum"] for one in summaries) == pytest.approx(total, rel=1e-12)


def test_spaces_become_heads():
    spaces = gym.spaces
    assert dict(from_space(spaces.Discrete(3))) == {"action": range(3)}
    assert dict(from_space(spaces.Discrete(3, start=-1), name="op")) == {"op": range(-1, 2)}
    assert dict(from_space(spaces.MultiDiscrete([2, 3], start=[0, 5]))) == {
        "action_0": range(2),
        "action_1": range(5, 8),
    }
    assert list(from_space(spaces.MultiBinary(3)).values()) == [range(2)] * 3
    nested = spaces.Dict(move=spaces.Tuple((spaces.Discrete(2), spaces.MultiBinary(1))), fire=spaces.Discrete(2))
    assert set(from_space(nested)) == {"fire", "move.0", "move.1_0"}
    with pytest.raises(Exception, match="'action' is 'Box"):
        from_space(spaces.Box(0, 1, (2,)))
