"""gymnasium's vector environments and a CleanRL-style script with the adapters, read back from the record."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

gym = pytest.importorskip("gymnasium", exc_type=ImportError)

import torch

import esper_telemetry as et
from esper_telemetry.integrations.cleanrl import SummaryWriter
from esper_telemetry.integrations.gymnasium import RecordRun
from tests.integrations.masked_env import MaskedEnv, chosen_in, masked_in

pytestmark = pytest.mark.integrations

ENVS, STEPS = 3, 200


@pytest.mark.parametrize("autoreset", ["NEXT_STEP", "SAME_STEP"])
def test_episodes_and_decisions_are_those_that_the_environments_executed(tmp_path, autoreset):
    mode = getattr(gym.vector.AutoresetMode, autoreset)
    made = [MaskedEnv((4,), seed) for seed in range(ENVS)]
    vector = gym.vector.SyncVectorEnv([lambda env=env: env for env in made], autoreset_mode=mode)
    resets = 0
    with et.start_run(tmp_path, name="gym") as run:
        envs = RecordRun(vector, run, every=50)
        envs.reset(seed=0)
        for _ in range(STEPS):
            masks = np.stack([env.action_masks() for env in made])
            *_, infos = envs.step(envs.action_space.sample(), masks)
            resets += infos["esper_reset"].sum()
        envs.close()
    chosen, masked, invalid = np.zeros(4, int), np.zeros(4, int), 0
    for event in et.read(run.folder):
        if event.type == "policy.action_distribution":
            chosen += list(event.data["action_counts"].values())
        elif event.type == "policy.mask_hit_rates":
            masked += event.data["heads"][0]["masked"]
        elif event.type == "counters.checked":
            invalid += event.data["invalid_rows"]
    executed = sum(len(env.seen) for env in made)
    assert chosen.tolist() == chosen_in(made)[0]
    assert masked.tolist() == masked_in(made)[0]
    assert chosen.sum() == executed
    assert executed + invalid == ENVS * STEPS
    assert invalid == resets
    assert (invalid > 0) is (autoreset == "NEXT_STEP")
    episodes = [event.data for event in et.read(run.folder, types="episode.completed")]
    for env, one in enumerate(made):
        own = [data for data in episodes if data["env_id"] == env]
        steps = sum(data["length"] for data in own)
        assert 0 <= len(one.seen) - steps < 12
        assert sum(data["episode_return"] for data in own) == pytest.approx(sum(one.rewards[:steps]))


CLEANRL = """
import sys
import gymnasium as gym
import torch
from {module} import SummaryWriter

args = {{"learning_rate": 2.5e-4, "env_id": "CartPole-v1"}}
writer = SummaryWriter(sys.argv[1])
writer.add_text(
    "hyperparameters",
    "|param|value|\\n|-|-|\\n%s" % ("\\n".join([f"|{{key}}|{{value}}|" for key, value in args.items()])),
)
envs = gym.wrappers.vector.RecordEpisodeStatistics(gym.vector.SyncVectorEnv([lambda: gym.make(args["env_id"])] * 2))
envs.reset(seed=1)
for global_step in range(1, 120):
    _, rewards, _, _, infos = envs.step(envs.action_space.sample())
    if "episode" in infos:
        for env in infos["_episode"].nonzero()[0]:
            writer.add_scalar("charts/episodic_return", infos["episode"]["r"][env], global_step)
    writer.add_scalar("losses/value_loss", torch.tensor(float(rewards.sum())).item(), global_step)
writer.close()
"""


def test_a_cleanrl_script_needs_one_import_line(tmp_path):
    script = CLEANRL.format(module="esper_telemetry.integrations.cleanrl")
    finished = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "runs" / "CartPole-v1__ppo__1")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    events = list(et.read(folder))
    assert events[0].data["name"] == "CartPole-v1__ppo__1"
    (configured,) = [event.data for event in events if event.type == "run.configured"]
    assert '"learning_rate":"0.00025"' in configured["config_json"]
    logged = [event.data for event in events if event.type == "scalars.logged"]
    assert [data["step"] for data in logged if "losses/value_loss" in data["scalars"]] == list(range(1, 120))
    assert sum("charts/episodic_return" in data["scalars"] for data in logged) >= 4
    assert events[-1].data["outcome"] == "completed"


def test_a_writer_has_the_other_calls_of_tensorboard_s(tmp_path):
    with et.start_run(tmp_path, name="own") as run:
        writer = SummaryWriter(run=run, comment="ignored", flush_secs=9)
        writer.add_scalars("loss", {"policy": torch.tensor(1.0), "value": 2.0}, 3)
        writer.add_histogram("weights", torch.arange(8.0), 3)
        writer.add_text("note", "hello", 3)
        writer.add_hparams({"lr": 0.1}, {"hparam/return": 9.0})
        writer.flush()
        writer.close()  # the run is its owner's
        run.emit(et.events.ScalarLogged, name="after", value=1.0)
    events = {event.type: event.data for event in et.read(run.folder)}
    assert events["scalars.logged"] == {"scalars": {"loss/policy": 1.0, "loss/value": 2.0}, "step": 3}
    assert (events["histogram.summarized"]["count"], events["text.logged"]["text"]) == (8, "hello")
    assert events["run.finished"]["results"] == {"hparam/return": 9.0}
    assert events["scalar.logged"]["name"] == "after"
