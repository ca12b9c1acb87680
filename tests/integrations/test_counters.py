"""Counters in the loops of other libraries: the record has what the environments themselves executed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.distributed as dist

import esper_telemetry as et
from esper_telemetry.counters import CounterSpec, DeviceCounters, GradientWatch, HostCounters, emit_snapshot, from_space
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


def test_a_pettingzoo_loop_whose_agents_die(tmp_path):
    """A batch has a row for every agent, those included that are dead: they are no decision."""
    pettingzoo = pytest.importorskip("pettingzoo")

    class Arena(pettingzoo.ParallelEnv):
        """Agents with an environment each; one whose episode ended is gone until the next reset."""

        metadata = {"name": "arena"}  # noqa: RUF012 - as the library wants it

        def __init__(self):
            self.made = {f"agent_{seed}": MaskedEnv((4,), seed, dict_observation=True) for seed in range(ENVS)}
            self.possible_agents = list(self.made)

        def action_space(self, agent):
            return self.made[agent].action_space

        def observation_space(self, agent):
            return self.made[agent].observation_space

        def reset(self, seed=None, options=None):
            self.agents = list(self.possible_agents)
            found = {agent: self.made[agent].reset(seed=seed, options=options) for agent in self.agents}
            return {agent: one for agent, (one, _) in found.items()}, {agent: {} for agent in self.agents}

        def step(self, actions):
            found = {agent: self.made[agent].step(action) for agent, action in actions.items()}
            self.agents = [agent for agent in self.agents if not found[agent][2]]
            return tuple({agent: one[part] for agent, one in found.items()} for part in range(5))

    env = Arena()
    agents = env.possible_agents
    recorded = Recorded(DeviceCounters(CounterSpec(from_space(env.action_space(agents[0])))), tmp_path)
    rng = np.random.default_rng(0)
    masks = np.zeros((ENVS, 4), bool)  # buffers that the loop writes into again
    actions, alive = np.zeros(ENVS, np.int64), np.zeros(ENVS, bool)
    rows = 0
    for _ in range(BATCHES):
        observed, _ = env.reset()
        while env.agents:
            masks[:], actions[:], alive[:] = False, 0, False
            for row, agent in enumerate(agents):
                if agent in env.agents:
                    masks[row], alive[row] = observed[agent]["action_mask"], True
                    actions[row] = rng.choice(np.flatnonzero(masks[row]))
            recorded.bank.record_step(*map(torch.from_numpy, (actions, masks)), valid=torch.from_numpy(alive))
            rows += ENVS
            observed, *_ = env.step({agent: actions[agents.index(agent)] for agent in env.agents})
        recorded.flush()
    chosen, masked, beside = recorded.close()
    made = list(env.made.values())
    assert (chosen, masked) == (chosen_in(made), masked_in(made))
    assert beside.pop("invalid_rows") == rows - sum(len(one.seen) for one in made) > 0
    assert set(beside.values()) == {0}


def _train(rank, folder, queue):
    """One rank of a masked loop with DistributedDataParallel; its bank adds into that of the first."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    env = MaskedEnv((4,), rank)
    policy = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 4))
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.01)
    watch = GradientWatch(policy)
    spec = CounterSpec(from_space(env.action_space), scalars=watch.scalars)
    bank = DeviceCounters(spec, process_group=dist.group.WORLD)
    watch.attach(optimizer, bank)
    observed, _ = env.reset()
    snapshots = []
    for batch in range(BATCHES):
        losses = []
        for _ in range(STEPS // (rank + 1)):  # ranks of different lengths
            mask = torch.from_numpy(env.action_masks())
            logits = policy.module(torch.from_numpy(observed)).masked_fill(~mask, -1e8)
            chosen = torch.distributions.Categorical(logits=logits).sample()
            bank.record_step(chosen[None], mask[None])
            observed, reward, ended, *_ = env.step(int(chosen))
            losses.append((policy.module(torch.from_numpy(observed)) * reward).sum())
            if ended:
                observed, _ = env.reset()
        policy(torch.zeros(1, 3)).sum().mul(0).add(torch.stack(losses).sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
        bank.flush(batch_idx=batch)
        snapshots += bank.poll()
    snapshots += bank.close()
    counts = [one.action_count["action"] for one in snapshots if one.rows]
    masked = [one.masked_count["action"] for one in snapshots if one.rows]
    norms = [one.scalars["grad_norm/all"].count for one in snapshots if one.scalars]
    doubts = sum(one.left_out + one.doubtful for one in snapshots)
    queue.put((rank, chosen_in([env]), masked_in([env]), counts, masked, norms, doubts))
    queue.close()
    queue.join_thread()
    dist.destroy_process_group()


def test_a_masked_loop_with_distributed_data_parallel(tmp_path):
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue()
    ranks = [context.Process(target=_train, args=(rank, str(tmp_path), queue)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    first, second = sorted(queue.get(timeout=240) for _ in ranks)
    for rank in ranks:
        rank.join(timeout=60)
        assert rank.exitcode == 0
    for part in (1, 2):  # chosen, masked
        executed = np.add(first[part][0], second[part][0])
        assert np.sum(first[part + 2], axis=0).tolist() == executed.tolist()
        assert second[part + 2] == []
    assert first[5] == [2] * BATCHES, "a step of each rank's optimizer"
    assert first[6] == second[6] == 0


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
