"""The vectorised loop for real: every assertion is on what `read(path)` gives back after a run."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest

import esper_telemetry
from esper.scripts.train import main
from esper.simic.config import PpoConfig
from esper.simic.vectorized import VectorizedTrainer
from esper.telemetry import open_hub

BATCHES, ENVS, EPOCHS = 2, 3, 15
OPS = {"WAIT", "GERMINATE", "CULL", "FOSSILIZE"}
HEADS = ("op", "slot", "blueprint", "blend")
SEED_EVENTS = {"seed.germinated", "seed.stage_changed", "seed.culled"}
SMALL = PpoConfig(batches=2, n_envs=2, max_epochs=9, hidden=16)


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """A real run on real images, through the command line."""
    folder = tmp_path_factory.mktemp("runs")
    sizes = ["--batches", str(BATCHES), "--n-envs", str(ENVS), "--max-epochs", str(EPOCHS)]
    assert main(["ppo", "--task", "digits", *sizes, "--telemetry-dir", str(folder)]) == 0
    (run,) = folder.iterdir()
    return list(esper_telemetry.read(run))


def of(events, *types):
    return [event.data for event in events if event.type in types]


def in_batch(events, kind, batch):
    return [data for data in of(events, kind) if data.get("batch_idx", data.get("global_epoch")) == batch]


def test_task_1_seed_events_flow_although_telemetry_is_off(train, synthetic, tmp_path):
    _, silent = train(synthetic, tmp_path / "off", SMALL, level="off")
    _, events = train(synthetic, tmp_path / "flag", SMALL, level="off", lifecycle_only=True)
    assert [event.type for event in silent] == ["run.started", "telemetry.disabled", "run.finished"]
    assert {event.type for event in events} >= {"seed.germinated", "seed.stage_changed", "telemetry.disabled"}
    assert "policy.action_taken" not in {event.type for event in events}


def test_tasks_2_and_3_every_seed_event_says_where_and_when_it_happened(digits_run):
    events = of(digits_run, *SEED_EVENTS)
    assert {data["env_id"] for data in events} == set(range(ENVS))
    for data in events:
        assert data["device"] == "cpu"
        assert 0.0 <= data["alpha"] <= 1.0
        assert 1 <= data["inner_epoch"] <= EPOCHS
        assert 1 <= data["global_epoch"] <= BATCHES


def test_task_4_the_action_of_every_environment_and_epoch_is_there(digits_run):
    actions = of(digits_run, "policy.action_taken")
    places = [(data["global_epoch"], data["inner_epoch"], data["env_id"]) for data in actions]
    every = [(b, e, n) for b in range(1, BATCHES + 1) for e in range(1, EPOCHS + 1) for n in range(ENVS)]
    assert places == every
    assert {data["op"] for data in actions} <= OPS
    for data in actions:
        assert data["slot_id"] in {"early", "mid", "late"}
        assert data["blueprint_id"] in {"conv_light", "attention", "norm", "depthwise"}
        assert data["blend_id"] in {"linear", "sigmoid", "gated"}
        assert (data["blueprint_masked"], data["blend_masked"], data["slot_masked"]) == (True, False, False)
        assert not any(data[f"{head}_forced"] for head in HEADS[1:])
        assert math.isfinite(data["reward"])


def test_task_5_an_update_has_its_vitals(digits_run):
    updates = of(digits_run, "ppo.update_completed")
    assert [data["batch_idx"] for data in updates] == list(range(1, BATCHES + 1))
    for data in updates:
        assert data["lr"] == 0.0003
        assert data["grad_norm"] > 0.0
        assert data["update_time_ms"] > 0.0
        assert 1 <= data["update_epochs"] <= 10
        assert data["skipped"] is False
        finite = ("policy_loss", "value_loss", "entropy", "kl_divergence", "clip_fraction", "explained_variance")
        assert all(math.isfinite(data[name]) for name in finite)
        assert data["episodes_completed"] == ENVS * data["batch_idx"]
        assert [head["head"] for head in data["heads"]] == list(HEADS)


def test_task_6_the_action_distribution_is_that_of_the_actions(digits_run):
    for batch in range(1, BATCHES + 1):
        (data,) = in_batch(digits_run, "policy.action_distribution", batch)
        actions = in_batch(digits_run, "policy.action_taken", batch)
        chosen = Counter(action["op"] for action in actions)
        succeeded = Counter(action["op"] for action in actions if action["action_success"])
        assert data["action_counts"] == {op: chosen[op] for op in OPS}
        assert data["success_counts"] == {op: succeeded[op] for op in OPS}
        assert data["head"] == "op"


def test_task_7_a_baseline_that_was_not_measured_is_marked(train, synthetic, tmp_path):
    config = replace(SMALL, counterfactual="final", max_epochs=20)
    _, events = train(synthetic, tmp_path, config)
    missed = [data for data in of(events, "counterfactual.computed") if data["inner_epoch"] < 20]
    assert missed
    for data in missed:
        assert data["available"] is False
        assert data["reason"] == "missing_baseline"
        assert "contribution" not in data


def test_task_7_every_slot_has_one_counterfactual_at_the_end_whatever_happened(digits_run):
    last = [data for data in of(digits_run, "counterfactual.computed") if data["inner_epoch"] == EPOCHS]
    counted = Counter((data["global_epoch"], data["env_id"], data["slot_id"]) for data in last)
    every = [(b, n, s) for b in range(1, BATCHES + 1) for n in range(ENVS) for s in ("early", "mid", "late")]
    assert counted == Counter(every)
    for data in last:
        if data["available"]:
            assert data["contribution"] == data["real_accuracy"] - data["baseline_accuracy"]
        else:
            assert data["reason"] in {"missing_baseline", "no_seed", "alpha_zero", "fossilized"}
            assert "contribution" not in data


def test_task_8_every_environment_reports_its_speed(digits_run):
    for batch in range(1, BATCHES + 1):
        speeds = in_batch(digits_run, "perf.throughput", batch)
        assert [data["env_id"] for data in speeds] == list(range(ENVS))
        for data in speeds:
            assert data["steps"] == EPOCHS * 10
            per_step = data["step_time_ms"] + data["dataloader_wait_ms"]
            assert data["fps"] == pytest.approx(32 / per_step * 1000, rel=1e-6)


def test_task_9_reward_components_add_up_to_what_the_actions_earned(digits_run):
    for batch in range(1, BATCHES + 1):
        for data in in_batch(digits_run, "reward.summary", batch):
            summary = dict(data["summary"])
            total = summary.pop("total_reward")
            assert total == pytest.approx(sum(summary.values()))
            actions = in_batch(digits_run, "policy.action_taken", batch)
            mine = [action["reward"] for action in actions if action["env_id"] == data["env_id"]]
            assert (len(mine), data["steps"]) == (EPOCHS, EPOCHS)
            assert total == pytest.approx(sum(mine))


def test_task_10_mask_hits_are_those_of_the_actions(digits_run):
    for batch in range(1, BATCHES + 1):
        (data,) = in_batch(digits_run, "policy.mask_hit_rates", batch)
        actions = in_batch(digits_run, "policy.action_taken", batch)
        assert data["mask_total"] == dict.fromkeys(HEADS, ENVS * EPOCHS)
        assert data["mask_hits"] == {head: sum(a[f"{head}_masked"] for a in actions) for head in HEADS}
        for head in data["heads"]:
            assert head["forced"] == sum(action[f"{head['head']}_forced"] for action in actions)
            assert head["empty"] == head["invalid_selected"] == head["out_of_range"] == 0
            assert sum(head["chosen"]) == head["total"] == ENVS * EPOCHS
        by_head = {head["head"]: head for head in data["heads"]}
        ops = Counter(action["op"] for action in actions)
        assert by_head["op"]["relevant"] == ENVS * EPOCHS
        assert by_head["slot"]["relevant"] == ENVS * EPOCHS - ops["WAIT"]
        assert by_head["blueprint"]["relevant"] == by_head["blend"]["relevant"] == ops["GERMINATE"]


def test_the_batch_is_the_sum_of_its_episodes(digits_run):
    for batch in range(1, BATCHES + 1):
        (data,) = in_batch(digits_run, "batch.completed", batch)
        episodes = in_batch(digits_run, "episode.completed", batch)
        hosts = in_batch(digits_run, "host.completed", batch)
        assert [episode["episode"] for episode in episodes] == [(batch - 1) * ENVS + n for n in range(ENVS)]
        assert data["env_accuracies"] == [host["val_accuracy"] for host in hosts]
        assert data["mean_accuracy"] == pytest.approx(sum(data["env_accuracies"]) / ENVS)
        assert data["mean_return"] == pytest.approx(sum(e["episode_return"] for e in episodes) / ENVS)
        assert data["episodes_completed"] == batch * ENVS


def test_what_was_counted_on_the_device_is_what_was_recorded(digits_run):
    for batch in range(1, BATCHES + 1):
        scalars = {data["name"]: data for data in in_batch(digits_run, "scalar.summarized", batch)}
        rewards = [action["reward"] for action in in_batch(digits_run, "policy.action_taken", batch)]
        assert scalars["reward"]["count"] == len(rewards)
        assert scalars["reward"]["sum"] == pytest.approx(sum(rewards), rel=1e-5)
        assert scalars["reward"]["max"] == pytest.approx(max(rewards), rel=1e-5)
        (histogram,) = in_batch(digits_run, "histogram.summarized", batch)
        assert sum(histogram["counts"]) == scalars["value"]["count"] == ENVS * EPOCHS


def test_a_block_of_steps_holds_the_same_actions_as_the_events(train, synthetic, tmp_path):
    def rows(events):
        keep = {"policy.action_taken"}
        return [
            {key: value for key, value in data.items() if key not in {"episode", "device", "batch_idx"}}
            for data in of(events, *keep)
        ]

    _, eager = train(synthetic, tmp_path / "events", SMALL)
    with open_hub(tmp_path / "block", name="test", step_blocks=True) as hub:
        list(VectorizedTrainer({"cpu": synthetic}, SMALL).train())
    stats = hub.run.stats()
    assert stats.recorded["steps.block"] == SMALL.batches
    assert "policy.action_taken" not in stats.recorded
    block = list(esper_telemetry.read(hub.run.folder, expand=True))
    assert len(rows(block)) == len(rows(eager)) == SMALL.batches * SMALL.max_epochs * SMALL.n_envs
    for one, other in zip(rows(block), rows(eager), strict=True):
        assert one.pop("reward") == pytest.approx(other.pop("reward"), rel=1e-6)
        assert one == other


# Options.


def test_only_the_slots_that_are_enabled_are_used_and_reported(train, synthetic, tmp_path):
    _, events = train(synthetic, tmp_path, replace(SMALL, slots=("mid",)))
    assert {data["slot_id"] for data in of(events, *SEED_EVENTS, "counterfactual.computed")} == {"mid"}
    last = [d for d in of(events, "counterfactual.computed") if d["inner_epoch"] == SMALL.max_epochs]
    assert len(last) == SMALL.batches * SMALL.n_envs


def test_several_devices_have_a_bank_each_and_one_sum(train, synthetic, tmp_path):
    single, events = train(synthetic, tmp_path / "one", replace(SMALL, n_envs=3))
    double, others = train(synthetic, tmp_path / "two", replace(SMALL, n_envs=3, devices=("cpu", "cpu:0")))
    kinds = ("policy.action_distribution", "policy.mask_hit_rates")
    assert of(events, *kinds) == of(others, *kinds)
    devices = {(data["env_id"], data["device"]) for data in of(others, "epoch.completed")}
    assert devices == {(0, "cpu"), (1, "cpu:0"), (2, "cpu")}
    assert [result.mean_return for result in single] == [result.mean_return for result in double]


@pytest.mark.parametrize("policy", ["random", "wait"])
def test_a_control_acts_and_learns_nothing(train, synthetic, tmp_path, policy):
    _, events = train(synthetic, tmp_path, replace(SMALL, policy=policy))
    assert of(events, "ppo.update_completed") == []
    chosen = Counter(data["op"] for data in of(events, "policy.action_taken"))
    assert (set(chosen) == {"WAIT"}) is (policy == "wait")
    assert (of(events, "seed.germinated") == []) is (policy == "wait")
