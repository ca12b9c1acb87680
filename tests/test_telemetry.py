"""The hub: flat events in, checked and typed events out, and nothing ever raised into the trainer."""

import ast
import logging
from pathlib import Path

import pytest
import torch

from esper.telemetry import TelemetryEvent, TelemetryEventType, get_hub, open_hub, use_run
from esper.v1 import seed_pb2, trainer_pb2
from esper_telemetry.schema import event_classes, event_type
from esper_telemetry.testing import memory_run, recorded
from esper_telemetry.v1 import steps_pb2, training_pb2

WHERE = {"env_id": 1, "device": "cpu", "inner_epoch": 3, "global_epoch": 2}
ESPER = Path(__file__).parents[1] / "esper"


@pytest.fixture
def memory():
    run, sink = memory_run(strict=False)
    with run, use_run(run) as hub:
        yield hub, run, sink


def written(run, sink, name):
    run.flush()
    return [event.data for event in recorded(sink) if event.name == name]


def test_every_event_of_the_trainers_schemas_has_a_member():
    modules = (seed_pb2, trainer_pb2, training_pb2, steps_pb2)
    names = {event_type(cls).name for module in modules for cls in event_classes(module)}
    borrowed = {
        "episode.completed",
        "checkpoint.saved",
        "checkpoint.loaded",
    }  # of the SDK's, those a trainer of it needs
    assert names | borrowed == {member.value for member in TelemetryEventType}


@pytest.mark.parametrize("kind", TelemetryEventType)
def test_every_member_knows_its_class(kind):
    assert event_type(kind.message_class).name == kind.value


def test_flat_data_is_split_into_payload_and_context_and_read_back_the_same(memory):
    hub, run, sink = memory
    data = {
        "slot_id": "mid",
        "seed_id": "s1",
        "blueprint_id": "norm",
        "from_stage": "TRAINING",
        "to_stage": "CULLED",
        "alpha": 0.0,
        "epochs_in_stage": 4,
        **WHERE,
    }
    hub.emit(TelemetryEvent(TelemetryEventType.SEED_STAGE_CHANGED, data))
    assert written(run, sink, "seed.stage_changed") == [data]


def test_names_of_enum_values_are_understood_inside_repeated_messages(memory):
    hub, run, sink = memory
    checks = [{"metric": "gradient_ratio", "value": 0.25, "threshold": 0.05, "passed": True}]
    data = {"slot_id": "mid", "seed_id": "s1", "blueprint_id": "norm", "gate": "G2", "passed": True, "checks": checks}
    hub.emit(TelemetryEvent(TelemetryEventType.SEED_GATE_EVALUATED, {**data, **WHERE}))
    assert written(run, sink, "seed.gate_evaluated") == [{**data, **WHERE}]


def test_labels_of_enum_values_are_understood(memory):
    hub, run, sink = memory
    data = {"env_id": 0, "slot_id": "mid", "available": False, "reason": "missing_baseline"}
    hub.emit(TelemetryEvent(TelemetryEventType.COUNTERFACTUAL_COMPUTED, data))
    assert written(run, sink, "counterfactual.computed") == [data]


def test_none_stays_unset_and_zero_is_a_measurement(memory):
    hub, run, sink = memory
    hub.emit(TelemetryEvent(TelemetryEventType.EPOCH_COMPLETED, {"val_loss": None, "train_loss": 0.0, **WHERE}))
    assert written(run, sink, "epoch.completed") == [{"train_loss": 0.0, **WHERE}]


def test_a_payload_field_wins_over_a_context_field_of_its_name(memory):
    hub, run, sink = memory
    hub.emit(TelemetryEvent(TelemetryEventType.SCALAR_LOGGED, {"name": "loss", "value": 1.0, "step": 7}))
    (event,) = [event for event in sink_events(run, sink) if event.type_id == type_id(sink, "ScalarLogged")]
    assert not event.context.HasField("step")


def sink_events(run, sink):
    run.flush()
    return sink.events()


def type_id(sink, message):
    return next(number for number, kind in sink.types.items() if kind.full_name.endswith(message))


@pytest.mark.parametrize(
    "data",
    [
        {"value": "not a number", "name": "loss"},
        {"name": "loss", "colour": "red"},
        {"name": "loss", "value": torch.ones(1)},
        {"name": "loss", "value": 1.0, "batch_idx": "seven"},
        {"name": "loss", "value": 1.0, "batch_idx": [7]},
    ],
    ids=["type", "unknown key", "tensor", "context type", "unhashable context"],
)
def test_a_bad_event_is_counted_as_invalid_and_raises_nothing(memory, data, caplog):
    hub, run, sink = memory
    with caplog.at_level(logging.CRITICAL):
        hub.emit(TelemetryEvent(TelemetryEventType.SCALAR_LOGGED, data))
    assert written(run, sink, "scalar.logged") == []
    assert run.stats().drops == {("esper_telemetry.v1.ScalarLogged", "invalid"): 1}


def test_an_event_without_its_context_is_counted_as_invalid(memory):
    hub, run, _ = memory
    hub.emit(TelemetryEvent(TelemetryEventType.SEED_CULLED, {"slot_id": "mid", "env_id": 0}))
    assert run.stats().drops == {("esper.v1.SeedCulled", "invalid"): 1}


def test_what_is_no_event_at_all_raises_nothing(memory, caplog):
    hub, run, _ = memory
    hub.emit(TelemetryEvent("seed.culled", {"alpha": 0.3}))
    assert "is no event of the schema" in caplog.text
    assert run.stats().drops == {}


def test_an_event_keeps_its_data_as_given(mocker):
    data = {"anything": mocker.Mock()}
    assert TelemetryEvent(mocker.Mock(), data).data is data


def test_without_a_run_the_hub_is_silent_and_wants_nothing():
    hub = get_hub()
    hub.emit(TelemetryEvent(TelemetryEventType.SCALAR_LOGGED, {"name": "x"}))
    assert not any(hub.wants(kind) for kind in TelemetryEventType)
    assert hub.share_of(1.0) == 0.0


def test_the_hub_wants_what_the_level_lets_through():
    run, _ = memory_run(level="minimal")
    with run, use_run(run) as hub:
        assert hub.wants(TelemetryEventType.BATCH_COMPLETED)
        assert not hub.wants(TelemetryEventType.ACTION_TAKEN)


def test_the_run_before_is_current_again_after_the_block():
    run, _ = memory_run()
    with run:
        with use_run(run) as hub:
            assert get_hub() is hub
        assert get_hub().run is None


def test_no_directory_keeps_no_record():
    with open_hub(None, name="nothing") as hub:
        assert hub.run is None


def test_an_open_hub_writes_a_record(tmp_path):
    with open_hub(tmp_path, name="short", config={"seed": 1}) as hub:
        hub.emit(TelemetryEvent(TelemetryEventType.SCALAR_LOGGED, {"name": "loss", "value": 0.5}))
    assert hub.run.stats().recorded["scalar.logged"] == 1
    assert all(path.stat().st_size for path in hub.run.paths)


@pytest.mark.parametrize(("level", "escalated"), [("minimal", "debug"), ("normal", "debug"), ("off", "off")])
def test_an_anomaly_raises_the_level_unless_telemetry_is_off(level, escalated):
    run, sink = memory_run(level=level)
    with run, use_run(run) as hub:
        hub.escalate()
        assert run.level == escalated
        hub.relax()
        assert run.level == level
    changes = [event.data["reason"] for event in recorded(sink) if event.name == "telemetry.level_changed"]
    assert changes == ([] if level == "off" else ["anomaly", "anomaly_over"])


def test_time_inside_calls_is_counted(memory):
    hub, _, _ = memory
    before = hub.seconds
    hub.emit(TelemetryEvent(TelemetryEventType.SCALAR_LOGGED, {"name": "loss", "value": 0.5}))
    assert hub.seconds > before
    assert hub.share_of(1.0) >= hub.seconds


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_telemetry_py_is_the_only_file_that_knows_the_sdk():
    sources = [path for path in ESPER.rglob("*.py") if path.parent.name != "v1"]
    known = {
        str(path.relative_to(ESPER))
        for path in sources
        for name in imported_modules(path)
        if name.partition(".")[0] == "esper_telemetry" or name.startswith("esper.v1")
    }
    assert known == {"telemetry.py"}


def test_no_file_of_the_trainer_is_longer_than_400_lines():
    sources = [path for path in ESPER.rglob("*.py") if path.parent.name != "v1"]
    assert {path.name for path in sources if len(path.read_text("utf-8").splitlines()) > 400} == set()


def test_phases_nest_and_an_exception_goes_on(memory):
    hub, run, sink = memory
    with pytest.raises(ZeroDivisionError), hub.phase("rollout", batch_idx=2), hub.phase("decide"):
        raise ZeroDivisionError
    inner, outer = written(run, sink, "phase.timed")
    assert (inner["phase"], inner["failed"]) == ("rollout/decide", True)
    assert (outer["phase"], outer["failed"], outer["batch_idx"]) == ("rollout", True, 2)


def test_progress_is_recorded(memory):
    hub, run, sink = memory
    hub.progress(2, 2, "batch")
    assert written(run, sink, "run.progress") == [{"done": 2.0, "total": 2.0, "unit": "batch"}]


def test_a_silent_hub_times_nothing_and_stops_nothing():
    ran = []
    with get_hub().phase("rollout"):
        ran.append(True)
    get_hub().progress(1, 2, "batch")
    assert ran


@pytest.mark.parametrize("name", ["phase", "progress"])
def test_a_failure_of_the_sdk_in_either_is_logged_and_not_raised(memory, monkeypatch, caplog, name):
    hub, _, _ = memory
    monkeypatch.setattr("esper_telemetry.recorder.emitter.Emitter.emit", lambda *_a, **_k: 1 / 0)
    if name == "phase":
        with hub.phase("rollout"):
            pass
    else:
        hub.progress(1, 2, "batch")
    assert "telemetry failed; training goes on" in caplog.text


def test_the_trainer_is_sampled(tmp_path):
    with open_hub(tmp_path, name="sampled") as hub:
        assert hub.run._core.options.system_interval == 10.0
