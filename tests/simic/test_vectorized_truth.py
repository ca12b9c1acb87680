"""What the PPO loop reports is true, also when things go wrong: failures are injected into real training."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from esper.simic.agent import Agent
from esper.simic.config import PpoConfig
from esper.simic.vectorized import VectorizedTrainer
from esper.telemetry import open_hub

SMALL = PpoConfig(batches=1, n_envs=2, max_epochs=10, hidden=16)
RESULTS = {"GERMINATE": "seed.germinated", "CULL": "seed.culled", "FOSSILIZE": "seed.fossilized"}


def of(events, *types):
    return [event.data for event in events if event.type in types]


def each_environment(change):
    """Apply `change(environment)` to every environment a trainer makes."""

    def prepare(trainer):
        made = trainer._new_episode

        def new_episode(env_id):
            episode = made(env_id)
            change(episode.environment)
            return episode

        trainer._new_episode = new_episode

    return prepare


def spoil(env_id, epoch, value=float("nan")):
    """Break the host of one environment in one epoch, as a bad step would."""

    def change(environment):
        validate = environment.validate

        def broken():
            if (environment.env_id, environment.inner_epoch) == (env_id, epoch):
                with torch.no_grad():
                    environment.model.head.weight.fill_(value)
            validate()

        environment.validate = broken

    return each_environment(change)


# Success.


@pytest.fixture(scope="module")
def careless(train, synthetic, tmp_path_factory):
    """A random policy on all slots: many of its operations cannot take effect."""
    config = replace(SMALL, policy="random", batches=4, n_envs=3, max_epochs=25)
    return train(synthetic, tmp_path_factory.mktemp("runs"), config)[1]


def place(data):
    return data["global_epoch"], data["env_id"], data["inner_epoch"]


@pytest.mark.parametrize("op", RESULTS)
def test_an_operation_was_a_success_exactly_when_the_seed_says_so(careless, op):
    tried = [data for data in of(careless, "policy.action_taken") if data["op"] == op]
    took_effect = {place(data) for data in of(careless, RESULTS[op])}
    assert tried
    assert {place(data) for data in tried if data["action_success"]} == took_effect
    assert any(not data["action_success"] for data in tried)


def test_waiting_always_takes_effect(careless):
    assert all(data["action_success"] for data in of(careless, "policy.action_taken") if data["op"] == "WAIT")


# Masks.


def test_forced_and_hit_differ_as_they_are_defined(train, synthetic, tmp_path):
    _, events = train(synthetic, tmp_path, replace(SMALL, slots=("mid",)))
    (data,) = of(events, "policy.mask_hit_rates")
    heads = {head["head"]: head for head in data["heads"]}
    total = SMALL.n_envs * SMALL.max_epochs
    assert [heads[name]["hit"] for name in ("slot", "blueprint", "blend")] == [total, total, 0]
    assert [heads[name]["forced"] for name in ("slot", "blueprint", "blend")] == [total, 0, 0]
    assert heads["slot"]["masked"] == [total, 0, total]
    assert heads["blueprint"]["masked"] == [total, 0, 0, 0, 0]
    waiting = [d for d in of(events, "policy.action_taken") if d["op_forced"]]
    assert heads["op"]["forced"] == len(waiting)
    assert all(d["op"] == "WAIT" for d in waiting)


# Rollback.


def test_a_rollback_carries_the_values_from_before_the_reset(train, synthetic, tmp_path):
    results, events = train(synthetic, tmp_path, SMALL, prepare=spoil(1, 4))
    (panic,), (rollback,) = of(events, "governor.panicked"), of(events, "governor.rolled_back")
    for data in (panic, rollback):
        assert (data["env_id"], data["device"]) == (1, "cpu")
        assert (data["inner_epoch"], data["global_epoch"]) == (4, 1)
        assert (data["reason"], data["consecutive_panics"]) == ("non_finite_loss", 1)
        assert math.isnan(data["loss"])
    assert results[0].episodes[1].environment.governor.consecutive_panics == 0
    assert rollback["reward_penalty"] == -10.0


def test_after_a_rollback_the_environment_waits_and_the_update_is_skipped(train, synthetic, tmp_path):
    results, events = train(synthetic, tmp_path, replace(SMALL, batches=2), prepare=spoil(1, 4))
    steps = [d for d in of(events, "policy.action_taken") if (d["env_id"], d["inner_epoch"]) == (1, 4)]
    for step in steps:
        assert (step["op"], step["op_forced"], step["op_masked"]) == ("WAIT", True, True)
        assert step["reward"] < -9.0
    updates = of(events, "ppo.update_completed")
    assert [data["skipped"] for data in updates] == [True, True]
    for data in updates:
        assert data["skip_reason"] == "rollback"
        assert data["lr"] == 0.0003
        assert not {"policy_loss", "grad_norm", "update_time_ms", "update_epochs", "heads"} & set(data)
    assert [result.update for result in results] == [None, None]
    penalties = [d["summary"]["rollback_penalty"] for d in of(events, "reward.summary")]
    assert penalties == [0.0, -10.0, 0.0, -10.0]
    assert [d["rollbacks"] for d in of(events, "host.completed")] == [0, 1, 0, 1]


def test_after_a_rollback_at_the_very_end_no_accuracy_is_claimed(train, synthetic, tmp_path):
    results, events = train(synthetic, tmp_path, SMALL, prepare=spoil(0, SMALL.max_epochs))
    healthy, batch = of(events, "host.completed")[1], of(events, "batch.completed")[0]
    assert "val_accuracy" not in of(events, "host.completed")[0]
    assert batch["mean_accuracy"] == healthy["val_accuracy"] == results[0].mean("val_accuracy")
    assert "env_accuracies" not in batch


def test_telemetry_that_raises_inside_a_rollback_does_not_stop_it(synthetic, tmp_path, monkeypatch):
    monkeypatch.setattr("esper_telemetry.recorder.emitter.Emitter.emit", lambda *_a, **_k: 1 / 0)
    with open_hub(tmp_path, name="test"):
        trainer = VectorizedTrainer({"cpu": synthetic}, SMALL)
        spoil(1, 4)(trainer)
        (result,) = trainer.train()
    environment = result.episodes[1].environment
    assert environment.fates.rollbacks == 1
    assert all(torch.isfinite(parameter).all() for parameter in environment.model.parameters())


def test_a_hub_that_raises_inside_a_rollback_does_not_stop_it(synthetic, mocker):
    hub = mocker.patch("esper.tolaria.governor.get_hub")
    hub.return_value.emit.side_effect = RuntimeError("no disk, no network, no luck")
    trainer = VectorizedTrainer({"cpu": synthetic}, SMALL)
    spoil(1, 4)(trainer)
    (result,) = trainer.train()
    assert result.episodes[1].environment.fates.rollbacks == 1
    assert hub.return_value.emit.call_count == 2


# Speed.


class SlowClock:
    """Stands still, except where a test says that time is spent."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def spend(self, seconds):
        self.now += seconds


def test_step_time_and_data_wait_are_those_of_the_environment_that_is_slow(train, synthetic, tmp_path, monkeypatch):
    clock = SlowClock()
    monkeypatch.setattr("esper.simic.environment.time", clock)

    def slow_down(environment):
        if environment.env_id == 1:
            environment.model.register_forward_pre_hook(lambda model, _: clock.spend(0.25 * model.training))
            environment.task = replace(environment.task, train=SlowSplit(environment.task.train, clock, 0.5))

    _, events = train(synthetic, tmp_path, SMALL, prepare=each_environment(slow_down))
    fast, slow = of(events, "perf.throughput")
    assert (fast["step_time_ms"], fast["dataloader_wait_ms"]) == (0.0, 0.0)
    assert "fps" not in fast
    assert slow["step_time_ms"] == 250.0
    assert slow["dataloader_wait_ms"] == 500.0
    assert slow["fps"] == pytest.approx(32 / 0.75)


class SlowSplit:
    """A split whose batches take their time."""

    def __init__(self, split, clock, seconds):
        self._split, self._clock, self._seconds = split, clock, seconds

    def batches(self, size, generator=None):
        for batch in self._split.batches(size, generator):
            self._clock.spend(self._seconds)
            yield batch


# Anomalies.


def sick_update(**change):
    """Let the first update of a trainer measure something it should not."""

    def prepare(trainer):
        learn = Agent.learn

        def sick(entropy_coef):
            update = learn(trainer.agent, entropy_coef)
            return replace(update, metrics=update.metrics | change) if trainer.global_epoch == 2 else update

        trainer.agent.learn = sick

    return prepare


def test_an_anomaly_raises_the_level_for_some_batches(train, synthetic, tmp_path):
    config = replace(SMALL, batches=5, escalate_batches=2)
    _, events = train(synthetic, tmp_path, config, level="minimal", prepare=sick_update(ratio_max=7.5))
    (anomaly,) = of(events, "ppo.anomaly_detected")
    assert anomaly == {
        "anomaly": "ratio_explosion",
        "metric": "ratio_max",
        "value": 7.5,
        "threshold": 5.0,
        "batch_idx": 2,
    }
    changes = [(d["from_level"], d["to_level"], d["reason"]) for d in of(events, "telemetry.level_changed")]
    assert changes == [("MINIMAL", "DEBUG", "anomaly"), ("DEBUG", "MINIMAL", "anomaly_over")]
    assert {data["batch_idx"] for data in of(events, "policy.mask_hit_rates")} == {3, 4}
    assert {data["global_epoch"] for data in of(events, "epoch.completed")} == {3, 4}


def test_an_anomaly_changes_nothing_that_is_learned(synthetic, train, tmp_path):
    config = replace(SMALL, batches=3)
    sick, _ = train(synthetic, tmp_path / "sick", config, prepare=sick_update(ratio_max=7.5))
    healthy, _ = train(synthetic, tmp_path / "healthy", config)
    assert [result.mean_return for result in sick] == [result.mean_return for result in healthy]


def test_an_update_that_is_not_finite_is_an_anomaly_and_leaves_the_policy_alone(train, synthetic, tmp_path):
    kept = {}

    def poison(trainer):
        kept["policy"] = trainer.agent.policy
        kept["before"] = [parameter.clone() for parameter in trainer.agent.policy.parameters()]
        trainer.agent.scale.update = lambda _rewards: float("nan")

    _, events = train(synthetic, tmp_path, SMALL, prepare=poison)
    (anomaly,) = of(events, "ppo.anomaly_detected")
    assert (anomaly["anomaly"], anomaly["metric"]) == ("numerical_instability", "policy_loss")
    assert math.isnan(anomaly["value"])
    assert "threshold" not in anomaly
    pairs = zip(kept["before"], kept["policy"].parameters(), strict=True)
    assert all(torch.equal(before, after) for before, after in pairs)
