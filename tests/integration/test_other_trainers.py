"""What other trainers log has a typed place, in a batch at most: names beside the values are theirs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import esper_telemetry as et

BATCH = {"batch_idx": 3, "episodes_completed": 12}
EVENTS = {
    "Stable-Baselines3, rollout": (
        et.events.RolloutCompleted,
        {
            "steps": 2048,  # n_steps * n_envs
            "total_steps": 4096,  # time/total_timesteps
            "episodes": 12,
            "return_mean": 21.5,  # rollout/ep_rew_mean
            "length_mean": 21.5,  # rollout/ep_len_mean
            "success_rate": 0.25,  # rollout/success_rate
            "rollout_time_ms": 850.0,
        },
    ),
    "Stable-Baselines3, PPO": (
        et.events.PpoUpdateCompleted,
        {
            "policy_loss": -0.012,  # train/policy_gradient_loss
            "value_loss": 31.0,
            "entropy": 0.68,  # minus train/entropy_loss
            "kl_divergence": 0.008,  # train/approx_kl
            "clip_fraction": 0.09,
            "clip_range": 0.2,
            "explained_variance": 0.01,
            "lr": 0.0003,
            "loss": 9.2,
            "action_std": 0.98,  # train/std
            "total_updates": 10,  # train/n_updates
        },
    ),
    "Stable-Baselines3, SAC": (
        et.events.OffPolicyUpdateCompleted,
        {
            "actor_loss": -7.5,
            "critic_loss": 0.4,
            "temperature": 0.97,  # train/ent_coef
            "temperature_loss": -0.3,  # train/ent_coef_loss
            "lr": 0.0003,
            "total_updates": 99,
            "buffer_size": 1000,
        },
    ),
    "Stable-Baselines3, evaluation": (
        et.events.EvalCompleted,
        {"episodes": 5, "return_mean": 9.0, "return_std": 1.5, "success_rate": 0.0, "deterministic": True},
    ),
    "CleanRL, an episode": (
        et.events.EpisodeCompleted,
        {"episode_return": 17.0, "length": 17, "terminated": True, "truncated": False},
    ),
    "CleanRL, DQN": (
        et.events.OffPolicyUpdateCompleted,
        {"critic_loss": 0.02, "q_mean": 1.5, "td_error": 0.1, "exploration_rate": 0.05, "updates": 1},
    ),
    "Transformers, evaluation": (
        et.events.EvalCompleted,
        {"split": "eval", "loss": 2.3, "samples": 872, "metrics": {"accuracy": 0.91}, "eval_time_ms": 1500.0},
    ),
    "Lightning, ModelCheckpoint": (
        et.events.CheckpointSaved,
        {"path": "epoch=3.ckpt", "size_bytes": 9, "metric": "val_loss", "metric_value": 0.12, "is_best": True},
    ),
    "a resumed trainer": (et.events.CheckpointLoaded, {"path": "epoch=3.ckpt", "load_time_ms": 12.0}),
}  # fmt: skip


@pytest.mark.parametrize(("event", "fields"), EVENTS.values(), ids=EVENTS)
def test_its_values_are_read_back_as_they_were_given(tmp_path, event, fields):
    with et.start_run(tmp_path, name="other", strict=True) as run:
        run.bind(**BATCH).emit(event, **fields)
    (read,) = list(et.read(run.folder))[1:-1]
    assert read.data == {**fields, **BATCH}


def test_the_commands_show_what_a_run_said_in_one_call(tmp_path):
    with et.start_run(tmp_path, name="commands", strict=True) as run:
        for step in range(3):
            with run.phase("train"):
                run.log({"loss": 0.5 - step / 10, "eval": {"acc": 0.25}}, step=step)
        run.log_text("sample", "x" * 1000)
        run.progress(done=3, total=3)

    def command(*words):
        return subprocess.run(
            [sys.executable, "-m", "esper_telemetry", *words, run.folder], capture_output=True, text=True, check=True
        ).stdout

    types = {one["name"]: one["fields"] for one in json.loads(command("stats", "--json"))}
    assert types["scalars.logged"]["scalars.loss"]["min"] == pytest.approx(0.3)
    assert types["scalars.logged"]["scalars.eval/acc"]["events"] == 3
    assert types["phase.timed"]["phase"]["texts"] == {"train": 3}
    assert "x" * 100 not in command("stats")
    assert "scalars={eval/acc: 0.25, loss: 0.5} step=0" in command("cat")
    assert "scalars.logged" in command("schema")
