"""The vectorised loop: first the plan's test cases, word for word; then a loop that can be stopped and resumed.

A mock hub proves little: test_vectorized_records.py shows each of these assertions on a real record.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from esper.simic.actions import FactoredAction, LifecycleOp
from esper.simic.config import PpoConfig
from esper.simic.vectorized import VectorizedTrainer, _emit_last_action, _with_env_id
from esper.telemetry import TelemetryEvent, TelemetryEventType


def test_lifecycle_only_keeps_slot_telemetry(mocker):
    from esper.simic import vectorized

    slot = mocker.Mock(fast_mode=False, on_telemetry=None)
    env_state = mocker.Mock(model=mocker.Mock(seed_slots={"mid": slot}))
    vectorized._apply_slot_telemetry(env_state, telemetry_enabled=False, lifecycle_only=True)
    assert slot.fast_mode is False
    assert slot.on_telemetry is not None


def test_last_action_event_emitted(mocker):
    from esper.simic import vectorized

    hub = mocker.patch("esper.simic.vectorized.get_hub")
    hub.return_value = mocker.Mock()
    event_data = vectorized._emit_last_action(  # noqa: F841 - word for word
        env_id=0,
        epoch=3,
        factored_action=mocker.Mock(
            op=mocker.Mock(name="GERMINATE"), slot_id="mid", blueprint_id="conv", blend_id="sigmoid"
        ),
        masked={"op": False, "slot": False, "blueprint": False, "blend": True},
        success=True,
    )
    emitted = hub.return_value.emit.call_args[0][0]
    assert emitted.data["slot_id"] == "mid"
    assert emitted.data["blend_masked"] is True


def test_ppo_update_event_includes_vitals(mocker):
    from esper.simic import vectorized

    hub = mocker.patch("esper.simic.vectorized.get_hub")
    hub.return_value = mocker.Mock()
    metrics = {"policy_loss": 0.1}
    vectorized._emit_ppo_update_event(
        hub=hub.return_value,
        metrics=metrics,
        episodes_completed=5,
        batch_idx=0,
        epoch=3,
        optimizer=mocker.Mock(param_groups=[{"lr": 0.0003}]),
        grad_norm=1.23,
        update_time_ms=12.5,
    )
    data = hub.return_value.emit.call_args[0][0].data
    assert data["lr"] == 0.0003
    assert data["grad_norm"] == 1.23
    assert data["update_time_ms"] == 12.5


def test_action_distribution_snapshot(mocker):
    from esper.simic import vectorized

    hub = mocker.patch("esper.simic.vectorized.get_hub")
    hub.return_value = mocker.Mock()
    vectorized._emit_action_distribution(
        hub=hub.return_value,
        batch_idx=1,
        episodes_completed=4,
        action_counts={"WAIT": 3, "GERMINATE": 1},
        success_counts={"WAIT": 3, "GERMINATE": 1},
    )
    data = hub.return_value.emit.call_args[0][0].data
    assert data["action_counts"]["WAIT"] == 3


def test_counterfactual_unavailable_event(mocker):
    from esper.simic import vectorized

    hub = mocker.patch("esper.simic.vectorized.get_hub")
    hub.return_value = mocker.Mock()
    vectorized._emit_cf_unavailable(hub.return_value, env_id=0, slot_id="mid", reason="missing_baseline")
    data = hub.return_value.emit.call_args[0][0].data
    assert data["available"] is False
    assert data["reason"] == "missing_baseline"


def test_throughput_metrics_emitted(mocker):
    from esper.simic import vectorized

    hub = mocker.patch("esper.simic.vectorized.get_hub")
    hub.return_value = mocker.Mock()
    vectorized._emit_throughput(
        hub=hub.return_value,
        env_id=0,
        batch_idx=1,
        episodes_completed=4,
        step_time_ms=5.0,
        dataloader_wait_ms=2.0,
    )
    data = hub.return_value.emit.call_args[0][0].data
    assert data["step_time_ms"] == 5.0
    assert data["dataloader_wait_ms"] == 2.0


def test_reward_summary_emitted(mocker):
    from esper.simic import vectorized

    hub = mocker.patch("esper.simic.vectorized.get_hub")
    hub.return_value = mocker.Mock()
    vectorized._emit_reward_summary(
        hub=hub.return_value,
        env_id=0,
        batch_idx=1,
        summary={"bounded_attribution": 0.4, "compute_rent": -0.1, "total_reward": 0.3},
    )
    data = hub.return_value.emit.call_args[0][0].data
    assert data["summary"]["total_reward"] == 0.3


def test_mask_hit_rates_emitted(mocker):
    from esper.simic import vectorized

    hub = mocker.patch("esper.simic.vectorized.get_hub")
    hub.return_value = mocker.Mock()
    vectorized._emit_mask_hit_rates(
        hub=hub.return_value,
        batch_idx=1,
        episodes_completed=4,
        mask_hits={"op": 10},
        mask_total={"op": 12},
    )
    data = hub.return_value.emit.call_args[0][0].data
    assert data["mask_hits"]["op"] == 10
    assert data["mask_total"]["op"] == 12


def test_the_last_action_is_returned_as_it_was_emitted(mocker):
    hub = mocker.patch("esper.simic.vectorized.get_hub")
    action = FactoredAction(LifecycleOp.GERMINATE, "mid", "norm", "sigmoid")
    data = _emit_last_action(0, 3, action, {"op": False, "blend": True}, success=True)
    assert data == hub.return_value.emit.call_args[0][0].data
    assert (data["op"], data["inner_epoch"], data["slot_masked"]) == ("GERMINATE", 3, None)


def test_with_env_id_leaves_the_event_it_is_given_alone():
    event = TelemetryEvent(TelemetryEventType.SEED_CULLED, {"slot_id": "mid"})
    full = _with_env_id(event, 3, torch.device("cpu"))
    assert full.data == {"slot_id": "mid", "env_id": 3, "device": "cpu"}
    assert event.data == {"slot_id": "mid"}


SMALL = PpoConfig(batches=2, n_envs=2, max_epochs=9, hidden=16)


def test_a_resumed_run_goes_on_where_it_stopped(synthetic):
    def trainer(batches):
        return VectorizedTrainer({"cpu": synthetic}, replace(SMALL, batches=batches))

    whole, first, second = trainer(3), trainer(1), trainer(2)
    expected = list(whole.train())[1:]
    list(first.train())
    second.load(first.state())
    results = list(second.train())
    assert [result.global_epoch for result in results] == [2, 3]
    assert [result.episodes_completed for result in results] == [4, 6]
    assert [result.mean_return for result in results] == [result.mean_return for result in expected]
    pairs = zip(second.agent.policy.parameters(), whole.agent.policy.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
