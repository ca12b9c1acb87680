"""Emitting: what is recorded, what is refused, and that nothing is raised into a trainer."""

import logging

import numpy as np
import pytest

from esper_telemetry import errors, events, testing
from esper_telemetry.v1 import context_pb2, options_pb2


class Tensor:
    """Stands for a tensor on a device: reading it would be a host sync, and is an error here."""

    def __float__(self):
        raise AssertionError("the host waited for the device")

    __index__ = __bool__ = __int__ = __float__


def emitted(sink, name):
    return [event.data for event in testing.recorded(sink) if event.name == name]


def test_context_is_added_and_nested_binds_merge():
    run, sink = testing.memory_run()
    env = run.bind(env_id=0, device="cpu")
    epoch = env.bind(inner_epoch=1, global_epoch=7)
    epoch.emit(events.EpochCompleted, val_accuracy=50.0)
    env.emit(events.ScalarLogged, name="x")
    run.close()
    (data,) = emitted(sink, "epoch.completed")
    assert data == {"val_accuracy": 50.0, "env_id": 0, "device": "cpu", "inner_epoch": 1, "global_epoch": 7}
    (data,) = emitted(sink, "scalar.logged")
    assert data == {"name": "x", "env_id": 0, "device": "cpu"}


def test_none_is_not_measured_and_zero_is():
    run, sink = testing.memory_run()
    run.emit(events.ScalarLogged, name="a", value=None)
    run.emit(events.ScalarLogged, name="b", value=0.0)
    run.close()
    assert emitted(sink, "scalar.logged") == [{"name": "a"}, {"name": "b", "value": 0.0}]


def test_numpy_scalars_are_converted_also_inside_containers():
    run, sink = testing.memory_run()
    where = run.bind(batch_idx=np.int64(2), episodes_completed=np.uint32(8))
    where.emit(events.BatchCompleted, mean_accuracy=np.float32(0.5), env_accuracies=[np.float64(1.0), 2])
    where.emit(events.BatchCompleted, env_accuracies=np.array([3.0, 4.0]))
    run.close()
    first, second = emitted(sink, "batch.completed")
    assert first == {"mean_accuracy": 0.5, "env_accuracies": [1.0, 2.0], "batch_idx": 2, "episodes_completed": 8}
    assert second["env_accuracies"] == [3.0, 4.0]


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (events.ScalarLogged, {"name": "x", "value": Tensor()}),
        (events.ScalarLogged, {"name": "x", "step": Tensor()}),
        (events.RunFinished, {"results": {"a": Tensor()}}),
        (events.HistogramSummarized, {"edges": [1.0, Tensor()]}),
    ],
)
def test_a_tensor_is_refused_unread_counted_and_said_once(cls, fields, caplog):
    run, sink = testing.memory_run(strict=False)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            run.bind(batch_idx=1).emit(cls, **fields)
    run.close()
    assert run.stats().drops[cls.DESCRIPTOR.full_name, "invalid"] == 3
    assert caplog.text.count("was not recorded") == 1
    assert "Tensor" in caplog.text
    finished = emitted(sink, "run.finished")[0]
    assert finished["dropped"] == 3
    assert finished["drops"] == [{"full_name": cls.DESCRIPTOR.full_name, "cause": "invalid", "count": 3}]


def test_a_real_tensor_is_refused_on_every_device(caplog):
    torch = pytest.importorskip("torch")
    run, _ = testing.memory_run(strict=False)
    run.emit(events.ScalarLogged, name="x", value=torch.tensor(1.0))
    run.close()
    assert run.stats().dropped == 1
    assert "torch.Tensor" in caplog.text


def test_a_torch_device_is_welcome_as_a_context():
    torch = pytest.importorskip("torch")
    run, sink = testing.memory_run()
    run.bind(device=torch.device("cuda:0")).emit(events.ScalarLogged, name="x")
    run.close()
    assert emitted(sink, "scalar.logged") == [{"name": "x", "device": "cuda:0"}]


@pytest.mark.parametrize(
    ("cls", "fields", "said"),
    [
        (events.ScalarLogged, {"nam": "x"}, "scalar.logged: .*nam.*its fields are name, value, step, unit"),
        (events.ScalarLogged, {"name": 3}, "scalar.logged"),
        (events.EpochCompleted, {"val_loss": 1.0}, r"epoch.completed requires device .*run.bind\(device=...\)"),
        (context_pb2.Context, {}, "esper_telemetry.v1.Context is no event"),
        (dict, {}, "is no event class"),
    ],
)
def test_a_bad_event_is_explained_with_strict_and_counted_without(cls, fields, said):
    strict, _ = testing.memory_run()
    with pytest.raises(errors.SchemaError, match=said):
        strict.emit(cls, **fields)
    strict.close()
    lenient, _ = testing.memory_run(strict=False)
    lenient.emit(cls, **fields)
    lenient.close()
    assert lenient.stats().dropped == 1


def test_an_unknown_context_field_spoils_only_its_own_emitter():
    strict, _ = testing.memory_run()
    with pytest.raises(errors.SchemaError, match="context has no field 'enviroment'; its fields are batch_idx"):
        strict.bind(enviroment=0)
    strict.close()
    run, sink = testing.memory_run(strict=False)
    run.bind(enviroment=0).emit(events.ScalarLogged, name="lost")
    run.emit(events.ScalarLogged, name="kept")
    run.close()
    assert [data["name"] for data in emitted(sink, "scalar.logged")] == ["kept"]
    assert run.stats().dropped == 1


def test_a_lost_event_leaves_a_gap_in_the_numbers():
    run, sink = testing.memory_run(strict=False)
    run.emit(events.ScalarLogged, name="a")
    run.emit(events.ScalarLogged, wrong="b")
    run.emit(events.ScalarLogged, name="c")
    run.close()
    numbers = [event.seq for event in testing.recorded(sink) if event.name == "scalar.logged"]
    assert numbers == [2, 4]


def test_a_ready_message_is_accepted_and_filtered_by_its_level():
    run, sink = testing.memory_run(level="minimal")
    run.emit(events.ScalarLogged(name="too detailed"))
    run.bind(batch_idx=1, episodes_completed=0).emit(events.BatchCompleted(mean_accuracy=3.0))
    run.close()
    assert emitted(sink, "scalar.logged") == []
    assert emitted(sink, "batch.completed") == [{"mean_accuracy": 3.0, "batch_idx": 1, "episodes_completed": 0}]


@pytest.mark.parametrize("level", ["lifecycle", "minimal", "normal", "debug"])
def test_the_level_of_the_schema_decides_what_is_recorded(level):
    run, sink = testing.memory_run(level=level)
    where = run.bind(batch_idx=1, episodes_completed=0, env_id=0)
    where.emit(events.LevelChanged, reason="test")
    where.emit(events.BatchCompleted)
    where.emit(events.Throughput)
    run.close()
    expected = {"lifecycle": 1, "minimal": 2, "normal": 3, "debug": 3}[level]
    assert len(testing.recorded(sink)) - 2 == expected


def test_events_after_close_are_ignored(tmp_path):
    run, sink = testing.memory_run()
    run.close()
    run.emit(events.ScalarLogged, name="late")
    run.close()
    assert [event.name for event in testing.recorded(sink)] == ["run.started", "run.finished"]


def test_every_built_in_event_class_has_a_level_and_a_name():
    for name in events.__all__:
        meta = getattr(events, name).DESCRIPTOR.GetOptions().Extensions[options_pb2.event]
        assert meta.name
        assert meta.level
