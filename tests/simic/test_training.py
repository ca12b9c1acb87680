"""The heuristic loop for real: every assertion is on what `read(path)` gives back after a run."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import esper_telemetry
from esper.kasmina.lifecycle import MOVES, Stage
from esper.scripts.train import main
from esper.simic.training import HeuristicConfig, train_heuristic
from esper.simic.transfer import to_host
from esper.tasks import load_task
from esper.telemetry import open_hub

SEED_EVENTS = {
    "seed.germinated",
    "seed.stage_changed",
    "seed.gate_evaluated",
    "seed.blend_progressed",
    "seed.fossilized",
    "seed.culled",
}
EPISODES, EPOCHS = 2, 75  # the first one keeps two seeds and discards one
SHORT = HeuristicConfig(episodes=1, max_epochs=30, seed=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Two threads sum in another order: runs on one are reproducible, and faster."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits():
    return load_task("digits")


def train(task, folder, config=SHORT, *, level="normal", progress=None):
    """Run the loop into a record; returns what it made and what was recorded."""
    with open_hub(folder, name="test", level=level) as hub:
        result = train_heuristic(task, config, telemetry_enabled=level != "off", progress=progress)
    assert hub.run.stats().dropped == 0
    return result, list(esper_telemetry.read(hub.run.folder))


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The run of `make demo`, a little shorter: whole episodes on real images, through the command line."""
    folder = tmp_path_factory.mktemp("runs")
    assert main(["heuristic", "--episodes", str(EPISODES), "--telemetry-dir", str(folder)]) == 0
    (run,) = folder.iterdir()
    return list(esper_telemetry.read(run))


def of(events, *types):
    return [event.data for event in events if event.type in types]


# What a real run records.


def test_a_demo_keeps_a_seed_and_discards_one(demo):
    assert of(demo, "seed.fossilized")
    assert of(demo, "seed.culled")


def test_every_event_of_a_seed_carries_alpha_and_where_it_happened(demo):
    events = of(demo, *SEED_EVENTS)
    assert {event.type for event in demo} >= SEED_EVENTS
    for data in events:
        assert 0.0 <= data["alpha"] <= 1.0
        assert (data["env_id"], data["device"]) == (0, "cpu")
        assert 1 <= data["inner_epoch"] <= EPOCHS
        assert 1 <= data["global_epoch"] <= EPISODES


def test_every_hop_is_there_and_follows_from_the_one_before(demo):
    at = {}
    for data in of(demo, "seed.stage_changed"):
        place = (data["global_epoch"], data["slot_id"])
        assert Stage[data["from_stage"]] == at.get(place, Stage.DORMANT)
        assert Stage[data["to_stage"]] in MOVES[Stage[data["from_stage"]]]
        at[place] = Stage[data["to_stage"]]
    assert set(at.values()) >= {Stage.FOSSILIZED}


def test_fates_of_seeds_agree_between_seeds_and_episodes(demo):
    for number, episode in enumerate(of(demo, "host.completed"), start=1):
        for fate in ("germinated", "fossilized", "culled"):
            events = [d for d in of(demo, f"seed.{fate}") if d["global_epoch"] == number]
            assert episode[f"seeds_{fate}"] == len(events)
        assert episode["rollbacks"] == 0
        assert 0.0 < episode["test_accuracy"] <= 100.0


def test_a_gate_shows_why_a_seed_was_kept(demo):
    for fossil in of(demo, "seed.fossilized"):
        gates = [d for d in of(demo, "seed.gate_evaluated") if d["seed_id"] == fossil["seed_id"]]
        (passed,) = [gate for gate in gates if gate["gate"] == "G5" and gate["passed"]]
        contribution, healthy = passed["checks"]
        assert contribution["metric"] == "contribution"
        assert contribution["value"] == fossil["contribution"] >= contribution["threshold"] == 1.0
        assert healthy == {"metric": "healthy", "value": 1.0, "threshold": 1.0, "passed": True}
        assert [gate["gate"] for gate in gates if gate["passed"]] == ["G0", "G1", "G2", "G3", "G5"]


def test_a_kept_seed_was_blended_in_five_steps_to_one(demo):
    for fossil in of(demo, "seed.fossilized"):
        progress = [d for d in of(demo, "seed.blend_progressed") if d["seed_id"] == fossil["seed_id"]]
        assert [step["epochs_done"] for step in progress] == [0, 1, 2, 3, 4]
        assert progress[-1]["alpha"] == 1.0


def test_every_slot_has_one_counterfactual_at_the_end_of_every_episode(demo):
    records = of(demo, "counterfactual.computed")
    for episode in range(1, EPISODES + 1):
        last = [d for d in records if (d["global_epoch"], d["inner_epoch"]) == (episode, EPOCHS)]
        assert [data["slot_id"] for data in last] == ["early", "mid", "late"]
    for data in records:
        measured = {"real_accuracy", "baseline_accuracy", "contribution"}
        if data["available"]:
            assert data["contribution"] == data["real_accuracy"] - data["baseline_accuracy"]
            assert "reason" not in data
        else:
            assert not measured & set(data)
            assert data["reason"] in {"no_seed", "alpha_zero", "fossilized"}


def test_the_last_action_of_every_epoch_is_there_and_claims_no_masks(demo):
    actions = of(demo, "policy.action_taken")
    assert [(d["global_epoch"], d["inner_epoch"]) for d in actions] == [
        (episode, epoch) for episode in range(1, EPISODES + 1) for epoch in range(1, EPOCHS + 1)
    ]
    assert not any("masked" in key or "forced" in key for data in actions for key in data)
    germinated = [d for d in actions if d["op"] == "GERMINATE"]
    assert [(d["slot_id"], d["blueprint_id"], d["blend_id"]) for d in germinated] == [
        (d["slot_id"], d["blueprint_id"], d["blend_id"]) for d in of(demo, "seed.germinated")
    ]
    assert all(data["action_success"] for data in germinated)
    kept = [d for d in actions if d["op"] == "FOSSILIZE" and d["action_success"]]
    assert len(kept) == len(of(demo, "seed.fossilized"))


def test_action_counts_are_those_of_the_actions(demo):
    for number, data in enumerate(of(demo, "policy.action_distribution"), start=1):
        actions = [d for d in of(demo, "policy.action_taken") if d["global_epoch"] == number]
        counted = Counter(d["op"] for d in actions)
        succeeded = Counter(d["op"] for d in actions if d["action_success"])
        ops = {"WAIT", "GERMINATE", "CULL", "FOSSILIZE"}
        assert data["action_counts"] == {op: counted[op] for op in ops}
        assert data["success_counts"] == {op: succeeded[op] for op in ops}
        assert (data["batch_idx"], data["episodes_completed"]) == (number, number)


def test_every_epoch_and_every_episode_is_reported_once(demo):
    epochs = of(demo, "epoch.completed")
    assert len(epochs) == EPISODES * EPOCHS
    assert all(math.isfinite(data[key]) for data in epochs for key in ("train_loss", "val_loss", "grad_norm"))
    batches = of(demo, "batch.completed")
    finals = [epoch["val_accuracy"] for epoch in epochs if epoch["inner_epoch"] == EPOCHS]
    assert [data["mean_accuracy"] for data in batches] == finals
    assert [data["batch_idx"] for data in batches] == list(range(1, EPISODES + 1))
    assert [data["val_accuracy"] for data in of(demo, "host.completed")] == finals
    assert of(demo, "run.finished")[0]["results"]["val_accuracy"] == pytest.approx(sum(finals) / EPISODES)


def test_speed_is_measured(demo):
    for data in of(demo, "perf.throughput"):
        assert data["steps"] == EPOCHS * 10
        assert data["step_time_ms"] > 0.0
        assert data["dataloader_wait_ms"] > 0.0
        per_step = data["step_time_ms"] + data["dataloader_wait_ms"]
        assert data["fps"] == pytest.approx(32 / per_step * 1000, rel=1e-6)


def test_reward_components_add_up_over_the_episode(demo):
    for number, data in enumerate(of(demo, "reward.summary"), start=1):
        summary = dict(data["summary"])
        total = summary.pop("total_reward")
        assert total == pytest.approx(sum(summary.values()))
        rewards = [d["reward"] for d in of(demo, "policy.action_taken") if d["global_epoch"] == number]
        assert (data["steps"], len(rewards)) == (EPOCHS, EPOCHS)
        assert total == pytest.approx(sum(rewards))
        assert total == pytest.approx(of(demo, "episode.completed")[number - 1]["episode_return"])
        assert (data["env_id"], data["batch_idx"]) == (0, number)


# Failures, injected into real training.


def spoil_at(*epochs):
    """Break the host's weights after some epochs, as a bad step would."""

    def progress(environment, _result):
        if environment.inner_epoch in epochs:
            with torch.no_grad():
                environment.model.head.weight.fill_(float("nan"))

    return progress


def test_a_host_that_breaks_is_rolled_back_and_trains_on(digits, tmp_path):
    germinated = []

    def progress(environment, result):
        if any(slot.is_live for slot in environment.slots.values()) and not germinated:
            germinated.append(environment.inner_epoch)
            spoil_at(environment.inner_epoch)(environment, result)

    result, events = train(digits, tmp_path, progress=progress)
    broken = germinated[0] + 1
    (panic,), (rollback,) = of(events, "governor.panicked"), of(events, "governor.rolled_back")
    for data in (panic, rollback):
        assert (data["env_id"], data["device"]) == (0, "cpu")
        assert (data["inner_epoch"], data["global_epoch"]) == (broken, 1)
        assert data["reason"] == "non_finite_loss"
        assert math.isnan(data["loss"])
        assert "threshold" not in data
        assert data["consecutive_panics"] == 1
    assert rollback["reward_penalty"] == -10.0
    dropped = of(events, "seed.germinated")[0]["seed_id"]
    assert rollback["dropped_seed_ids"] == [dropped]
    culled = of(events, "seed.culled")[0]
    assert (culled["seed_id"], culled["reason"]) == (dropped, "rollback")
    action = of(events, "policy.action_taken")[broken - 1]
    assert action["op"] == "WAIT"
    assert action["reward"] < -9.0
    assert result.episodes[0].fates.rollbacks == 1
    assert result.episodes[0].val_accuracy > 50.0


def test_after_a_rollback_at_the_very_end_no_accuracy_is_claimed(digits, tmp_path):
    config = replace(SHORT, max_epochs=6)
    result, events = train(digits, tmp_path, config, progress=spoil_at(5))
    (episode,), (batch,) = of(events, "host.completed"), of(events, "batch.completed")
    assert "val_accuracy" not in episode
    assert "test_accuracy" not in episode
    assert "mean_accuracy" not in batch
    assert result.mean("val_accuracy") is None
    assert len(of(events, "counterfactual.computed")) == 3


def test_a_listener_that_fails_does_not_stop_the_training(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("esper_telemetry.recorder.emitter.Emitter.emit", lambda *_a, **_k: 1 / 0)
    with open_hub(tmp_path, name="test") as hub:
        result = train_heuristic(digits, replace(SHORT, max_epochs=8))
    assert result.episodes[0].val_accuracy is not None
    assert hub.seconds > 0.0


# Options.


def test_without_counterfactuals_nothing_is_kept_and_every_record_says_disabled(digits, tmp_path):
    _, events = train(digits, tmp_path, replace(SHORT, counterfactual="off", max_epochs=40))
    records = of(events, "counterfactual.computed")
    assert [(data["inner_epoch"], data["reason"]) for data in records] == [(40, "disabled")] * 3
    assert not of(events, "seed.fossilized")
    g5 = [data for data in of(events, "seed.gate_evaluated") if data["gate"] == "G5"]
    assert g5
    assert all("value" not in data["checks"][0] for data in g5)
    assert "unmeasured" in {data["reason"] for data in of(events, "seed.culled")}


def test_a_baseline_that_is_missed_is_marked_and_the_final_one_is_measured(digits, tmp_path):
    _, events = train(digits, tmp_path, replace(SHORT, counterfactual="final", max_epochs=24))
    records = of(events, "counterfactual.computed")
    missed = [data for data in records if data["inner_epoch"] < 24]
    assert missed
    for data in missed:
        assert data["available"] is False
        assert data["reason"] == "missing_baseline"
        assert "baseline_accuracy" not in data
    last = [data for data in records if data["inner_epoch"] == 24]
    assert [data["slot_id"] for data in last] == ["early", "mid", "late"]
    assert any(data["available"] for data in last)


def test_the_control_grows_nothing(digits, tmp_path):
    result, events = train(digits, tmp_path, replace(SHORT, policy="wait", max_epochs=8))
    assert {event.type for event in events}.isdisjoint(SEED_EVENTS)
    assert {data["op"] for data in of(events, "policy.action_taken")} == {"WAIT"}
    assert result.episodes[0].fates.germinated == 0
    assert result.host.seed_params() == 0


def test_the_control_and_the_growing_run_start_from_the_same_host_and_see_the_same_data(digits):
    until_first_seed = replace(SHORT, max_epochs=4)
    grown = train_heuristic(digits, until_first_seed).host.state_dict()
    plain = train_heuristic(digits, replace(until_first_seed, policy="wait")).host.state_dict()
    assert all(torch.equal(grown[name], plain[name]) for name in plain)


@pytest.mark.parametrize("episodes", [0, -1])
def test_nothing_to_train_is_an_error(digits, episodes):
    with pytest.raises(ValueError, match=f"episodes is {episodes}"):
        train_heuristic(digits, replace(SHORT, episodes=episodes))


# Waiting for the device.


class Sentinel(TorchDispatchMode):
    """Counts the operations that copy to the host or wait for the device."""

    def __init__(self):
        super().__init__()
        self.waits = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in {"_local_scalar_dense", "item", "nonzero", "equal", "is_nonzero"}:
            self.waits[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("level", ["off", "debug"])
def test_the_device_is_read_once_an_epoch_whatever_is_recorded(digits, tmp_path, monkeypatch, level):
    copies = []

    def counted(tensors):
        copies.append(len(tensors))
        return to_host(tensors)

    monkeypatch.setattr("esper.simic.training.to_host", counted)
    config = replace(SHORT, max_epochs=25)
    with Sentinel() as sentinel:
        _, events = train(digits, tmp_path, config, level=level)
    assert copies == [1] * 25
    assert not sentinel.waits
    assert level == "off" or of(events, "seed.germinated")
