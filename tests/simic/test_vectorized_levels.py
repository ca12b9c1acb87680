"""Telemetry never changes what is learned: weights, actions and rewards over every level and every kind of disk."""

from __future__ import annotations

import time

import pytest
import torch

from esper.simic.config import PpoConfig
from esper.simic.vectorized import VectorizedTrainer
from esper.telemetry import TELEMETRY_LEVELS, use_run
from esper_telemetry import RecordOptions
from esper_telemetry.errors import SinkError
from esper_telemetry.testing import memory_run, recorded

CONFIG = PpoConfig(batches=2, n_envs=2, max_epochs=10, hidden=16)


def learned(task, *, telemetry_enabled=True, lifecycle_only=False):
    """Train, and return everything that was learned, done and earned."""
    trainer = VectorizedTrainer(
        {"cpu": task}, CONFIG, telemetry_enabled=telemetry_enabled, lifecycle_only=lifecycle_only
    )
    actions, act = [], trainer.agent.decide

    def decide(*arguments):
        decision = act(*arguments)
        actions.append(decision.indices)
        return decision

    trainer.agent.decide = decide
    results = list(trainer.train())
    weights = [trainer.agent.policy.state_dict()]
    weights += [episode.environment.model.state_dict() for result in results for episode in result.episodes]
    rewards = [[reward.components() for reward in e.rewards] for result in results for e in result.episodes]
    return weights, actions, rewards


def assert_equal(one, other):
    weights, actions, rewards = one
    others, same_actions, same_rewards = other
    assert actions == same_actions
    assert rewards == same_rewards
    for mine, theirs in zip(weights, others, strict=True):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.fixture(scope="module")
def alone(synthetic):
    """A training that nobody listens to."""
    return learned(synthetic)


def test_something_was_grown_and_decided_in_what_is_compared(alone):
    weights, actions, _ = alone
    assert any("seed" in name for state in weights for name in state)
    assert len({op for step in actions for op, *_ in step}) > 1


@pytest.mark.parametrize("lifecycle_only", [False, True])
@pytest.mark.parametrize("level", TELEMETRY_LEVELS)
def test_every_level_learns_the_same(synthetic, alone, level, lifecycle_only):
    run, sink = memory_run(level=level, lifecycle_only=lifecycle_only)
    with run, use_run(run):
        told = learned(synthetic, telemetry_enabled=level != "off", lifecycle_only=lifecycle_only)
    assert_equal(told, alone)
    names = {event.name for event in recorded(sink)}
    assert ("policy.action_taken" in names) is (level in ("normal", "debug"))
    assert ("seed.germinated" in names) is (level != "off" or lifecycle_only)


def test_a_block_of_steps_learns_the_same(synthetic, alone):
    run, _ = memory_run()
    with run, use_run(run, step_blocks=True):
        assert_equal(learned(synthetic), alone)


class BadDisk:
    """A sink that is slow, or fails on everything after the run's first event."""

    def __init__(self, sink, *, fails):
        self._sink, self._fails, self._writes = sink, fails, 0

    def write(self, batch):
        self._writes += 1
        if self._fails and self._writes > 1:
            raise SinkError("no space left")
        if self._writes > 1:
            time.sleep(0.3)
        self._sink.write(batch)

    def __getattr__(self, name):
        return getattr(self._sink, name)


@pytest.mark.parametrize("fails", [False, True], ids=["slow", "failing"])
def test_a_bad_disk_learns_the_same(synthetic, alone, fails):
    small = RecordOptions(buffer_bytes=16_384, close_timeout=0.5)
    run, _ = memory_run(strict=False, record=small, wrap=lambda sink: BadDisk(sink, fails=fails))
    with run, use_run(run):
        assert_equal(learned(synthetic), alone)
    assert run.stats().dropped > 0 or not fails  # whether a slow disk costs events hangs on the machine's speed
