"""What the reports say of a real environment, read back from a real record."""

from __future__ import annotations

import hashlib

import pytest

import esper_telemetry
from esper.simic import reports
from esper.simic.actions import FactoredAction, LifecycleOp
from esper.simic.anomalies import TrendTracker
from esper.simic.counterfactual import Counterfactual
from esper.simic.environment import Environment, EpochResult
from esper.simic.reports import (
    report_batch,
    report_checkpoint,
    report_counterfactuals,
    report_episode,
    report_epoch,
    report_throughput,
)
from esper.tasks import load_task
from esper.telemetry import TelemetryEventType, open_hub, use_run
from esper_telemetry.testing import memory_run, recorded

NOTHING = EpochResult(None, None, None, None, None, None, [])


@pytest.fixture
def environment():
    environment = Environment(load_task("synthetic"), seed=1, episode=6, env_id=2)
    environment.begin_epoch(3, 4, terminal=False)
    return environment


@pytest.fixture
def record(tmp_path):
    """Call a report with a hub, and read what it left: the events between the run's first and last."""

    def run(report, *arguments, **options):
        with open_hub(tmp_path, name="test") as hub:
            report(hub, *arguments, **options)
        assert hub.run.stats().dropped == 0
        return [event.data for event in list(esper_telemetry.read(hub.run.folder))[1:-1]]

    return run


CONTEXT = {"env_id": 2, "device": "cpu", "episode": 6, "inner_epoch": 3, "global_epoch": 4}


def test_what_an_epoch_did_not_measure_is_absent(record, environment):
    assert record(report_epoch, environment, NOTHING, seconds=None) == [CONTEXT]


def test_an_epoch_is_reported_with_its_place_and_its_time(record, environment):
    result = EpochResult(0.5, 90.0, 1.5, 0.25, 80.0, None, [])
    (data,) = record(report_epoch, environment, result, seconds=0.25)
    measured = {"train_loss": 0.5, "train_accuracy": 90.0, "grad_norm": 1.5, "val_loss": 0.25, "val_accuracy": 80.0}
    assert data == {**CONTEXT, **measured, "epoch_time_ms": 250.0}


RECORDS = [
    Counterfactual("early", "s1", None, 80.0, 75.0),
    Counterfactual("mid", "s2", "missing_baseline"),
    Counterfactual("late", None, "no_seed"),
]


@pytest.mark.parametrize(
    ("terminal", "slots", "reported"),
    [
        (False, ("early", "mid", "late"), ["early", "mid"]),
        (True, ("early", "mid", "late"), ["early", "mid", "late"]),
        (True, ("mid",), ["mid"]),
    ],
)
def test_counterfactuals_are_reported_as_far_as_they_are_due(record, environment, terminal, slots, reported):
    result = EpochResult(None, None, None, None, 80.0, None, RECORDS)
    data = record(report_counterfactuals, environment, result, terminal=terminal, slots=slots)
    assert [one["slot_id"] for one in data] == reported
    expected = {
        "early": {
            "seed_id": "s1",
            "available": True,
            "real_accuracy": 80.0,
            "baseline_accuracy": 75.0,
            "contribution": 5.0,
        },
        "mid": {"seed_id": "s2", "available": False, "reason": "missing_baseline"},
        "late": {"available": False, "reason": "no_seed"},
    }
    for one in data:
        assert one == {**CONTEXT, "slot_id": one["slot_id"], **expected[one["slot_id"]]}


def test_an_episode_tells_its_seeds_by_fate_and_their_parameters(record, environment):
    environment.germinate("mid", "norm", "linear")
    environment.end_epoch()
    grown, ended = record(report_episode, environment, val_accuracy=None, test_accuracy=70.0, seconds=2.0)
    host = environment.model.host_params()
    fates = {"seeds_germinated": 1, "seeds_fossilized": 0, "seeds_culled": 0, "rollbacks": 0}
    counted = {"host_params": host, "seed_params": 32}
    assert grown == {**CONTEXT, "test_accuracy": 70.0, **fates, **counted}
    assert ended == {**CONTEXT, "length": 3, "duration_s": 2.0}


def test_speed_without_a_step_is_not_measured(record, environment):
    (data,) = record(report_throughput, environment, batch_idx=4, episodes_completed=7)
    assert data == {"env_id": 2, "device": "cpu", "batch_idx": 4, "episodes_completed": 7, "steps": 0}


def test_speed_is_a_mean_over_the_steps_of_this_environment(record, environment):
    timing = environment.timing
    timing.steps, timing.samples, timing.step_seconds, timing.wait_seconds = 4, 128, 0.4, 0.1
    (data,) = record(report_throughput, environment, batch_idx=4, episodes_completed=7)
    assert data["step_time_ms"] == pytest.approx(100.0)
    assert data["dataloader_wait_ms"] == pytest.approx(25.0)
    assert data["fps"] == pytest.approx(256.0)


def test_a_batch_in_which_an_environment_has_no_accuracy_lists_none(record):
    (data,) = record(
        report_batch,
        TrendTracker(),
        batch_idx=1,
        episodes_completed=2,
        accuracies=[80.0, None],
        mean_return=None,
        seconds=1.0,
    )
    assert data["mean_accuracy"] == 80.0
    assert "env_accuracies" not in data
    assert "mean_return" not in data


# The plan's helpers.

BATCH = {"batch_idx": 2, "episodes_completed": 8}


@pytest.fixture
def memory():
    run, sink = memory_run()
    with run, use_run(run) as hub:
        yield hub, lambda: (run.flush(), recorded(sink)[-1].data)[1]


def test_an_update_that_was_skipped_has_no_vitals(memory, mocker):
    hub, last = memory
    reports._emit_ppo_update_event(
        hub=hub,
        metrics={"skipped": True, "skip_reason": "rollback"},
        epoch=25,
        optimizer=mocker.Mock(param_groups=[{"lr": 0.0003}]),
        grad_norm=None,
        update_time_ms=None,
        **BATCH,
    )
    assert last() == {"skipped": True, "skip_reason": "rollback", "lr": 0.0003, "inner_epoch": 25, **BATCH}


def test_a_measured_counterfactual_is_not_the_helpers_business_but_a_missing_one_is(memory):
    hub, last = memory
    reports._emit_cf_unavailable(hub, 1, "mid", "alpha_zero", seed_id="s1", inner_epoch=4)
    assert last() == {
        "env_id": 1,
        "slot_id": "mid",
        "seed_id": "s1",
        "available": False,
        "reason": "alpha_zero",
        "inner_epoch": 4,
    }


def test_speed_that_was_not_measured_stays_unset(memory):
    hub, last = memory
    reports._emit_throughput(hub=hub, env_id=0, step_time_ms=None, dataloader_wait_ms=2.0, **BATCH)
    assert last() == {"env_id": 0, "dataloader_wait_ms": 2.0, **BATCH}


def test_an_action_without_masks_claims_none(memory):
    hub, last = memory
    event = reports._last_action_event(
        env_id=0,
        epoch=3,
        factored_action=FactoredAction(LifecycleOp.CULL, "mid", "norm", "linear"),
        masked={},
        success=False,
        reward=-0.5,
    )
    hub.emit(event)
    assert last() == {
        "env_id": 0,
        "inner_epoch": 3,
        "op": "CULL",
        "slot_id": "mid",
        "blueprint_id": "norm",
        "blend_id": "linear",
        "action_success": False,
        "reward": -0.5,
    }


def test_counts_and_sums_come_back_as_given(memory):
    hub, last = memory
    counts = {"WAIT": 3, "GERMINATE": 1}
    reports._emit_action_distribution(hub=hub, action_counts=counts, success_counts=counts, **BATCH)
    assert last() == {"action_counts": counts, "success_counts": counts, "head": "op", **BATCH}
    reports._emit_mask_hit_rates(hub=hub, mask_hits={"op": 10}, mask_total={"op": 12}, **BATCH)
    assert last() == {"mask_hits": {"op": 10}, "mask_total": {"op": 12}, **BATCH}
    reports._emit_reward_summary(hub=hub, env_id=1, batch_idx=2, summary={"total_reward": 0.25}, steps=4)
    assert last() == {"env_id": 1, "batch_idx": 2, "summary": {"total_reward": 0.25}, "steps": 4}


def test_a_checkpoint_is_reported_with_the_hash_of_its_file(record, tmp_path):
    path = tmp_path / "policy.pt"
    path.write_bytes(b"weights")
    kind = TelemetryEventType.CHECKPOINT_SAVED
    (data,) = record(report_checkpoint, kind, path, seconds=0.5, batch_idx=3)
    file = {"path": str(path), "size_bytes": 7, "sha256": hashlib.sha256(b"weights").hexdigest()}
    assert data == {**file, "save_time_ms": 500.0, "batch_idx": 3, "global_epoch": 3}


def test_a_checkpoint_that_is_gone_is_reported_without_what_was_not_measured(record, tmp_path):
    kind = TelemetryEventType.CHECKPOINT_LOADED
    (data,) = record(report_checkpoint, kind, tmp_path / "gone.pt", seconds=0.5, batch_idx=3)
    assert data == {"path": str(tmp_path / "gone.pt"), "load_time_ms": 500.0, "batch_idx": 3, "global_epoch": 3}
