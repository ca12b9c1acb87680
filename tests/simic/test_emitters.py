"""Emitters: thin over the schema, and every field they name is one the schema has."""

from __future__ import annotations

import pytest

from esper.simic import emitters
from esper.simic.actions import FactoredAction, LifecycleOp
from esper.telemetry import use_run
from esper_telemetry.testing import memory_run, recorded

BATCH = {"batch_idx": 2, "episodes_completed": 8}


@pytest.fixture
def memory():
    run, sink = memory_run()
    with run, use_run(run) as hub:
        yield hub, lambda: (run.flush(), recorded(sink)[-1].data)[1]


def test_an_update_that_was_skipped_has_no_vitals(memory, mocker):
    hub, last = memory
    emitters._emit_ppo_update_event(
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
    emitters._emit_cf_unavailable(hub, 1, "mid", "alpha_zero", seed_id="s1", inner_epoch=4)
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
    emitters._emit_throughput(hub=hub, env_id=0, step_time_ms=None, dataloader_wait_ms=2.0, **BATCH)
    assert last() == {"env_id": 0, "dataloader_wait_ms": 2.0, **BATCH}


def test_an_action_without_masks_claims_none(memory):
    hub, last = memory
    event = emitters._last_action_event(
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
    emitters._emit_action_distribution(hub=hub, action_counts=counts, success_counts=counts, **BATCH)
    assert last() == {"action_counts": counts, "success_counts": counts, "head": "op", **BATCH}
    emitters._emit_mask_hit_rates(hub=hub, mask_hits={"op": 10}, mask_total={"op": 12}, **BATCH)
    assert last() == {"mask_hits": {"op": 10}, "mask_total": {"op": 12}, **BATCH}
    emitters._emit_reward_summary(hub=hub, env_id=1, batch_idx=2, summary={"total_reward": 0.25}, steps=4)
    assert last() == {"env_id": 1, "batch_idx": 2, "summary": {"total_reward": 0.25}, "steps": 4}
