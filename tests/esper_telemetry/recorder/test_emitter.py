"""Emitting: what is recorded, what is refused, and that nothing is raised into a trainer."""

import logging

import numpy as np
import pytest

from esper_telemetry import errors, events, testing
from esper_telemetry.v1 import context_pb2, options_pb2
from tests.esper_telemetry.schema.foreign import foreign_event


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
        (
            events.BatchCompleted,
            {"mean_return": 1.0},
            r"batch.completed: it requires batch_idx .*run.bind\(batch_idx=...\)",
        ),
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


def test_every_built_in_event_class_has_a_level_and_a_name():
    for name in events.__all__:
        meta = getattr(events, name).DESCRIPTOR.GetOptions().Extensions[options_pb2.event]
        assert meta.name
        assert meta.level


@pytest.mark.parametrize("calls", [1, 40], ids=["first", "later"])
def test_fields_of_context_may_stand_in_the_call(calls):
    run, sink = testing.memory_run()
    bound = run.bind(env_id=3, group="a")
    for _ in range(calls):
        bound.emit(events.Throughput, fps=9.0, step=7, env_id=1)
        run.emit(events.BatchCompleted, mean_return=1.0, batch_idx=2)
        bound.emit(events.Throughput, fps=8.0, group=None)
    run.close()
    assert emitted(sink, "perf.throughput")[-2:] == [
        {"fps": 9.0, "env_id": 1, "step": 7, "group": "a"},
        {"fps": 8.0, "env_id": 3},
    ]
    assert emitted(sink, "batch.completed") == [{"mean_return": 1.0, "batch_idx": 2}] * calls


def test_a_call_cannot_unset_what_the_event_requires():
    run, _ = testing.memory_run(strict=False)
    bound = run.bind(batch_idx=1)
    for _ in range(40):
        bound.emit(events.BatchCompleted, mean_return=1.0)
        bound.emit(events.BatchCompleted, mean_return=1.0, batch_idx=None)
    run.close()
    assert run.stats().dropped == 40


def test_a_wrong_context_in_a_call_is_counted_and_the_next_call_is_recorded(caplog):
    run, sink = testing.memory_run(strict=False)
    for step in range(40):
        run.emit(events.Throughput, fps=9.0, step=step)
        run.emit(events.Throughput, fps=9.0, step=-step - 1)
        run.emit(events.Throughput, fps=9.0, step=Tensor())
    run.close()
    assert [data["step"] for data in emitted(sink, "perf.throughput")] == list(range(40))
    assert run.stats().dropped == 80
    assert caplog.text.count("was not recorded") == 2, "once for each mistake"


def test_a_ready_message_takes_context_and_no_fields():
    run, sink = testing.memory_run()
    run.emit(events.BatchCompleted(mean_return=1.0), batch_idx=4)
    with pytest.raises(errors.SchemaError, match="takes no fields, and was given 'mean_return'"):
        run.emit(events.BatchCompleted(mean_return=1.0), batch_idx=4, mean_return=2.0)
    run.close()
    assert emitted(sink, "batch.completed") == [{"mean_return": 1.0, "batch_idx": 4}]


def test_what_readers_print_of_an_enum_can_be_emitted():
    run, sink = testing.memory_run()
    where = run.bind(batch_idx=1)
    where.emit(events.AnomalyDetected, anomaly="value_collapse")
    where.emit(events.RunFinished, outcome="failed", drops=[{"full_name": "x", "cause": "buffer_full"}])
    run.flush()
    (anomaly,) = emitted(sink, "ppo.anomaly_detected")
    where.emit(events.AnomalyDetected, anomaly=anomaly["anomaly"])
    with pytest.raises(errors.SchemaError, match="one of UNSPECIFIED, ratio_explosion, ratio_collapse, value_collapse"):
        where.emit(events.AnomalyDetected, anomaly="value_colapse")
    run.close()
    assert [data["anomaly"] for data in emitted(sink, "ppo.anomaly_detected")] == ["value_collapse"] * 2
    finished = emitted(sink, "run.finished")[0]
    assert (finished["outcome"], finished["drops"][0]["cause"]) == ("failed", "buffer_full")


class Unhashable:
    def __hash__(self):
        raise ValueError("it is asked for its hash")


class Evasive:
    def __getattr__(self, name):
        raise RuntimeError("it is asked for an attribute")


class EvasiveMeta(type):
    def __getattr__(cls, name):
        raise RuntimeError("it is asked for an attribute")

    def __hash__(cls):
        raise ValueError("it is asked for its hash")


class EvasiveClass(metaclass=EvasiveMeta):
    pass


WRONG_CALLS = {
    "a name": (("loss", 0.5), {}),
    "a name alone": (("loss",), {}),
    "a long name": (("loss" * 1_000_000, 0.5, 3), {}),
    "nothing": ((), {}),
    "None": ((None,), {"loss": 0.5}),
    "a value without a name": ((events.ScalarLogged, 0.5), {}),
    "a message and a value": ((events.ScalarLogged(name="x"), 0.5), {}),
    "a message and its fields": ((events.ScalarLogged(name="x"),), {"value": 0.5}),
    "a dict": (({"loss": 0.5},), {}),
    "a message that is no event": ((context_pb2.Context(),), {}),
    "a class that is no event": ((context_pb2.Context,), {}),
    "a class that is no message": ((dict,), {}),
    "an array": ((np.ones(3),), {}),
    "a tensor": ((Tensor(),), {}),
    "an object without a hash": ((Unhashable(),), {}),
    "an object that answers nothing": ((Evasive(),), {}),
    "a class that answers nothing": ((EvasiveClass,), {}),
    "a message that cannot be serialized": ((foreign_event("must")(),), {}),
}


@pytest.mark.parametrize("call", WRONG_CALLS)
def test_a_wrong_call_is_counted_as_invalid_said_once_and_never_raised(call, caplog):
    arguments, fields = WRONG_CALLS[call]
    run, _ = testing.memory_run(strict=False)
    for emitter in (run, run.bind(env_id=1), run):
        emitter.emit(*arguments, **fields)
    run.close()
    assert sum(run.stats().drops.values()) == 3
    assert {cause for _, cause in run.stats().drops} == {"invalid"}
    assert caplog.text.count("was not recorded") == 1
    assert len(caplog.records[0].getMessage()) < 1200


@pytest.mark.parametrize("call", WRONG_CALLS)
def test_a_wrong_call_is_raised_with_strict(call):
    arguments, fields = WRONG_CALLS[call]
    run, _ = testing.memory_run()
    with pytest.raises(errors.SchemaError):
        run.emit(*arguments, **fields)
    run.close()


def test_the_call_that_is_meant_is_said():
    run, _ = testing.memory_run()
    with pytest.raises(errors.SchemaError, match=r"'loss' is no event class; call emit\(EventClass, field=value"):
        run.emit("loss", 0.5)
    with pytest.raises(errors.SchemaError, match=r"0\.5 without a name; call emit\(EventClass, field=value"):
        run.emit(events.ScalarLogged, 0.5)
    with pytest.raises(errors.SchemaError, match=r"bind was given 5; give names, such as bind\(env_id=0\)"):
        run.bind(5)
    run.close()


def test_a_caller_who_makes_up_mistakes_all_the_time_fills_neither_log_nor_memory(caplog):
    run, _ = testing.memory_run(strict=False)
    for number in range(1000):
        run.emit(events.ScalarLogged, **{f"name{number}": 1})
        run.emit(events.ScalarLogged, step=2**64 + number)
        run.emit(f"metric/{number}", number)
        run.emit(events.ScalarLogged, value=type(f"Kind{number}", (), {})())
    run.close()
    assert sum(run.stats().drops.values()) == 4000
    assert len(run.stats().drops) == 2
    assert len(caplog.records) < 300
    assert len(run._core._mistakes) < 300


def test_an_emitter_made_before_the_level_changed_follows_it():
    run, sink = testing.memory_run(level="minimal")
    used, fresh = run.bind(env_id=1), run.bind(env_id=2)
    for _ in range(3):
        used.emit(events.ScalarLogged, name="filtered")
    run.set_level("normal")
    for emitter in (used, fresh, fresh):
        emitter.emit(events.ScalarLogged, name="kept")
    run.set_level("minimal")
    for emitter in (used, fresh):
        emitter.emit(events.ScalarLogged, name="filtered")
    run.close()
    assert [data["name"] for data in emitted(sink, "scalar.logged")] == ["kept"] * 3


def test_an_emitter_says_what_it_adds():
    run, _ = testing.memory_run()
    assert repr(run.bind(env_id=1, device="cpu", step=None)) == "<Emitter: env_id=1, device='cpu'>"
    assert repr(run.bind()) == "<Emitter: no context>"
    run.close()
