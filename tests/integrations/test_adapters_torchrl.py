"""TorchRL with the adapter: a logger of a trainer's kind, and the decisions of a collector."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torchrl", exc_type=ImportError)

import torch
from tensordict.nn import TensorDictModule
from torchrl.collectors import Collector
from torchrl.envs import GymEnv, SerialEnv
from torchrl.envs.libs.gym import GymWrapper
from torchrl.envs.transforms import ActionMask, TransformedEnv
from torchrl.modules import MLP, MaskedCategorical, ProbabilisticActor

import esper_telemetry as et
from esper_telemetry.counters import CounterSpec, DeviceCounters, emit_snapshot
from esper_telemetry.integrations.torchrl import EsperRLLogger, record_td
from tests.integrations.masked_env import MaskedEnv, chosen_in, masked_in

pytestmark = pytest.mark.integrations

ENVS, FRAMES = 2, 64


def test_a_collector_s_decisions_are_those_that_the_environments_executed(tmp_path):
    made = [MaskedEnv((4,), seed, dict_observation=True) for seed in range(ENVS)]
    wrapped = [TransformedEnv(GymWrapper(env, categorical_action_encoding=True), ActionMask()) for env in made]
    envs = SerialEnv(ENVS, [lambda env=env: env for env in wrapped])
    scores = TensorDictModule(MLP(3, 4, depth=1, num_cells=8), ["observation"], ["logits"])
    policy = ProbabilisticActor(
        scores, in_keys={"logits": "logits", "mask": "action_mask"}, out_keys=["action"],
        distribution_class=MaskedCategorical,
    )  # fmt: skip
    bank = DeviceCounters(CounterSpec({"action": 4}))
    collector = Collector(envs, policy, frames_per_batch=FRAMES, total_frames=4 * FRAMES)
    with et.start_run(tmp_path, name="torchrl") as run:
        logger = EsperRLLogger(run)
        for batch, td in enumerate(collector, 1):
            record_td(bank, td)
            bank.flush(batch_idx=batch)
            for snapshot in bank.poll():
                emit_snapshot(run, snapshot)
            logger.log_scalar("reward", td["next", "reward"].mean(), step=batch)
        for snapshot in bank.close():
            emit_snapshot(run, snapshot)
        collector.shutdown()
    chosen, masked = np.zeros(4, int), np.zeros(4, int)
    for event in et.read(run.folder):
        if event.type == "policy.action_distribution":
            chosen += list(event.data["action_counts"].values())
        elif event.type == "policy.mask_hit_rates":
            (head,) = event.data["heads"]
            masked += head["masked"]
            assert head["invalid_selected"] == 0
    assert chosen.sum() == 4 * FRAMES
    assert (chosen.tolist(), masked.tolist()) == (chosen_in(made)[0], masked_in(made)[0])
    rewards = [event.data["scalars"]["reward"] for event in et.read(run.folder, types="scalars.logged")]
    assert len(rewards) == 4


def test_a_vectorised_gymenv_hands_over_a_frame_behind_an_end_that_no_environment_executed():
    """Such a frame is paid 0. Where all end at once, TorchRL resets all, and there is none."""
    collector = Collector(GymEnv("CartPole-v1", num_envs=ENVS), None, frames_per_batch=400, total_frames=400)
    frames = next(iter(collector))
    collector.shutdown()
    ended = frames["next", "done"][:, :-1, 0]
    valid = ~ended | ended.all(dim=0)  # what compatibility.md states
    assert not valid.all()
    assert torch.equal(frames["next", "reward"][:, 1:, 0] == 1, valid)


def test_a_logger_records_what_it_is_given(tmp_path):
    with et.start_run(tmp_path, name="torchrl") as run:
        logger = EsperRLLogger(run)
        assert run.run_id in repr(logger)
        logger.log_scalar("loss", torch.tensor(0.5), step=3)
        logger.log_hparams({"lr": 1e-3})
        logger.log_histogram("weights", torch.arange(10.0))
        logger.log_video("play", torch.zeros(1, 4, 3, 8, 8), step=3)
        if hasattr(logger, "log_metrics"):
            logger.log_metrics({"a": 1.0, "b": torch.tensor(2.0)}, step=4)
    events = {event.type: event.data for event in et.read(run.folder)}
    assert events["histogram.summarized"]["count"] == 10
    assert "video of shape (1, 4, 3, 8, 8), not stored" in events["text.logged"]["text"]
    assert '"lr":0.001' in events["run.configured"]["config_json"]
    scalars = [event.data for event in et.read(run.folder, types="scalars.logged")]
    assert scalars[0] == {"scalars": {"loss": 0.5}, "step": 3}
    assert {name for data in scalars for name in data["scalars"]} == {"loss", "a", "b"}
