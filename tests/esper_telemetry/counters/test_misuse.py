"""Misuse is named with its place and cure: raised at the first record, later counted, said once, and in the record."""

from __future__ import annotations

import threading

import pytest
import torch

from esper_telemetry.counters import CounterSpec, DeviceCounters, HostCounters
from esper_telemetry.counters.misuse import Misuse
from esper_telemetry.errors import CounterError
from tests.esper_telemetry.counters.naive import count, counts_of, random_step, spec_of

LOGGER = "esper_telemetry.counters"


def messages(caplog):
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


def test_heads_that_are_views_of_one_tensor_are_no_misuse():
    spec = spec_of(2)
    bank = DeviceCounters(spec, strict=True)
    for seed in range(3):
        actions, masks, success = random_step(spec, 4, seed)
        heads = dict(zip(spec.heads, actions.unbind(1), strict=True))
        options = dict(zip(spec.heads, masks.split([len(names) for names in spec.heads.values()], 1), strict=True))
        bank.record_step(heads, options, success)
    assert bank.flush(batch_idx=1).result().steps == 3


def test_a_value_that_is_recorded_under_two_names_is_no_misuse():
    spec = spec_of(1, scalars=("a", "b"))
    bank = DeviceCounters(spec, strict=True)
    value = torch.ones(3)
    bank.record_scalar("a", value)
    bank.record_scalar("b", value)
    assert bank.flush(batch_idx=1).result().scalars["b"].count == 3


@pytest.mark.parametrize("call", ["record", "flush", "poll"])
def test_a_second_thread_is_reported(call):
    spec = spec_of(1)
    bank = DeviceCounters(spec)
    bank.record_step(*random_step(spec, 2, 0))
    calls = {
        "record": lambda: bank.record_step(*random_step(spec, 2, 1)),
        "flush": lambda: bank.flush(batch_idx=1),
        "poll": bank.poll,
    }
    thread = threading.Thread(target=calls[call])
    thread.start()
    thread.join()
    assert bank.misuse["thread"] == 1
    steps = bank.flush(batch_idx=2).result().steps
    assert steps == (2 if call == "record" else 1), "a report loses nothing"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda a, m, s: (a.float(), m, s), r"actions \(packed\): dtype is torch.float32; give integers"),
        (lambda a, m, s: (a[:, :1], m, s), r"actions \(packed\): shape is \(4, 1\); give \[B, 2\]"),
        (lambda a, m, s: (a[:, 0], m, s), r"actions \(packed\): shape is \(4,\); give \[B, 2\], or one-hot"),
        (lambda a, m, s: (a, m.float(), s), r"masks \(packed\): dtype is torch.float32; give bool \(True = valid\)"),
        (lambda a, m, s: (a, m[:, 1:], s), r"masks \(packed\): shape is \(4, 8\); give \[B, 9\]"),
        (lambda a, m, s: (a, m[1:], s), r"different numbers of environments \(actions: 4, masks: 3, success: 4\)"),
        (lambda a, m, s: (a, m, s[:, None]), r"success: shape is \(4, 1\); give \[B\]"),
        (lambda a, m, s: (a, m, s.long()), r"success: dtype is torch.int64; give bool"),
        (lambda a, m, s: (a.to("meta"), m, s), r"actions \(packed\): it is on meta, the bank on cpu; use one bank"),
        (lambda a, m, s: (a.tolist(), m, s), r"actions: list is neither a tensor nor a dict"),
        (lambda a, m, s: ({"op": a[:, 0]}, m, s), r"actions: heads are op; the spec has op, slot"),
        (lambda a, m, s: ({"op": a[:, 0], "slot": a[:, 0].int()}, m, s), r"actions: the heads have different dtypes"),
        (lambda a, m, s: (a, {"op": m[:, :6], "slot": m[:, :2]}, s), r"masks of head 'slot': shape .*give \[B, 3\]"),
        (
            lambda a, m, s: ({"op": a[:, 0], "slot": [1, 2]}, m, s),
            r"actions of head 'slot': got a list; .*HostCounters",
        ),
        (lambda a, m, s: (None, m, s), r"success: given without actions"),
        (lambda a, m, s: (a.to_sparse(), m, s), r"actions \(packed\): dtype is torch.sparse_coo torch.int64"),
    ],
)
def test_a_first_record_that_does_not_fit_raises_with_the_place_and_the_cure(spoil, says):
    spec = spec_of(2)
    good = random_step(spec, 4, 0)
    bank = DeviceCounters(spec)
    with pytest.raises(CounterError, match=says):
        bank.record_step(*spoil(*good))
    bank.record_step(*good)
    assert counts_of(bank.flush(batch_idx=1).result()) == count(spec, [good])


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("rewrad", torch.ones(1), "scalar 'rewrad' is unknown; the spec has: reward"),
        ("reward", 1.5, "scalar 'reward': got a float; give a tensor on cpu, or use HostCounters"),
        (
            "reward",
            torch.ones(1, dtype=torch.complex64),
            "scalar 'reward': dtype is torch.complex64; give a real number",
        ),
    ],
)
def test_a_first_value_that_does_not_fit_raises(name, value, says):
    bank = DeviceCounters(spec_of(1, scalars=("reward",)))
    with pytest.raises(CounterError, match=says):
        bank.record_scalar(name, value)


def test_context_that_the_schema_does_not_have_is_refused_at_the_first_record():
    spec = spec_of(1)
    with pytest.raises(CounterError, match=r"epoch=1 is no argument, and no integer field of the context.*inner_epoch"):
        DeviceCounters(spec).record_step(*random_step(spec, 2, 0), epoch=1)


@pytest.mark.parametrize("mode", ["deferred", "inline"])
def test_a_later_record_that_does_not_fit_is_left_out_and_the_others_are_counted(mode, caplog):
    spec = spec_of(2, scalars=("reward",))
    good = [random_step(spec, 4, seed) for seed in range(5)]
    bank = DeviceCounters(spec, mode=mode)
    for number, step in enumerate(good):
        bank.record_step(*step)
        bank.record_scalar("reward", torch.ones(2))
        if number == 2:
            bank.record_step(step[0], step[1][:, 1:], step[2])
            bank.record_step(step[0].float(), step[1], step[2])
            bank.record_scalar("reward", 3.0)
    found = bank.flush(batch_idx=1).result()
    assert counts_of(found) == count(spec, good)
    assert found.scalars["reward"].count == 10
    assert bank.misuse["misfit"] == 3
    assert sum("left out" in message for message in messages(caplog)) == 1


def test_a_strict_bank_raises_later_misuse_too():
    spec = spec_of(1)
    actions, masks, success = random_step(spec, 4, 0)
    bank = DeviceCounters(spec, strict=True)
    bank.record_step(actions, masks, success)
    bank.record_step(actions.clone(), masks[:, 1:], success.clone())
    with pytest.raises(CounterError, match="left out"):
        bank.flush(batch_idx=1)


def test_an_action_out_of_range_shows_as_missing_counts_and_training_goes_on(caplog):
    spec = CounterSpec({"op": ("A", "B")})
    bank = DeviceCounters(spec, strict=True)
    bank.record_actions(torch.tensor([[0], [5], [1]]))
    found = bank.flush(batch_idx=3).result()
    assert found.rows["op"] == 3
    assert sum(found.action_count["op"]) == 2
    assert found.out_of_range == {"op": 1}
    (message,) = messages(caplog)
    assert message == "batch 3: head 'op': 1 of 3 decisions chose no option at all (index out of range)"


def test_trouble_of_the_device_stays_out_of_the_training_loop(monkeypatch, caplog):
    from esper_telemetry.counters import window

    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    spec = spec_of(1)
    bank = DeviceCounters(spec)
    bank.record_step(*random_step(spec, 2, 0))
    monkeypatch.setattr(window, "fold_", fail)
    assert bank.flush(batch_idx=1).result().rows == {}
    assert bank.misuse["failed"] == 1
    assert "1 records were lost" in messages(caplog)[0]


@pytest.mark.parametrize("strict", [True, False])
def test_a_device_that_fails_at_the_copy_stays_out_of_the_training_loop(monkeypatch, strict):
    def fail(*_):
        raise RuntimeError("CUDA error: device-side assert triggered")

    spec = spec_of(1)
    bank = DeviceCounters(spec, strict=strict)
    bank.record_step(*random_step(spec, 2, 0))
    monkeypatch.setattr(bank._reader, "start", fail)
    monkeypatch.setattr(bank._outbox, "poll", fail)
    if strict:
        for call in (lambda: bank.flush(batch_idx=1), bank.poll):
            with pytest.raises(CounterError, match="CUDA error"):
                call()
    else:
        assert bank.flush(batch_idx=1) is None
        assert bank.poll() == []
        assert bank.misuse["failed"] == 2


@pytest.mark.parametrize("guard", ["auto", "off"])
def test_an_unknown_name_of_a_value_is_reported_in_any_window(guard):
    spec = spec_of(1, scalars=("reward",))
    bank = DeviceCounters(spec, guard=guard)
    bank.record_scalar("reward", torch.ones(1))
    bank.record_scalar("rewrad", torch.ones(1))
    bank.record_step(*random_step(spec, 1, 0))
    bank.record_step(*random_step(spec, 1, 0), scalars=[torch.ones(1)])
    found = bank.flush(batch_idx=1).result()
    assert found.scalars["reward"].count == 1
    assert found.rows["op"] == 2, "the step is right without them"
    assert bank.misuse["misfit"] == found.misuse["misfit"] == 2
    assert found.values_left_out == 2


@pytest.mark.parametrize("bank_class", [DeviceCounters, HostCounters])
def test_every_record_is_checked_as_the_first_one_was(bank_class):
    spec = spec_of(2, scalars=("reward",))
    convert = (lambda part: part) if bank_class is DeviceCounters else (lambda part: part.numpy())
    actions, masks, success = map(convert, random_step(spec, 4, 0))
    bank = bank_class(spec)
    bank.record_step(actions, masks, success)
    bank.record_scalar("reward", convert(torch.ones(2)))
    bank.record_step(actions, masks, sucess=success)  # keeps its decisions
    bank.record_step(actions, masks, success[1:])
    bank.record_step(actions, masks[:, 1:], success)
    bank.record_step({"op": actions[:, 0]}, masks, success)
    bank.record_step(actions, masks, success, valid=convert(torch.ones(4)))
    bank.record_scalar("rewrad", convert(torch.ones(2)))
    found = bank.flush(batch_idx=1).result()
    assert (found.rows["op"], found.success_count) == (8, {}), "the misspelt success was not given"
    assert (found.left_out, found.values_left_out) == (16, 2)
    assert found.misuse == {"misfit": 6}


@pytest.mark.parametrize("bank_class", [DeviceCounters, HostCounters])
def test_a_strict_bank_raises_whenever_a_record_does_not_fit(bank_class):
    spec = spec_of(1)
    convert = (lambda part: part) if bank_class is DeviceCounters else (lambda part: part.numpy())
    actions, masks, success = map(convert, random_step(spec, 4, 0))
    for wrong in ({"masks": masks[:, 1:]}, {"sucess": success}, {"valid": success[1:]}):
        bank = bank_class(spec, strict=True)
        bank.record_step(actions, masks, success)
        with pytest.raises(CounterError):  # noqa: PT012 - at the call, or where records are counted
            bank.record_step(**({"actions": actions, "masks": masks} | wrong))
            bank.flush(batch_idx=1)


def test_misuse_is_in_the_snapshot_of_the_batch_in_which_it_happened():
    spec = spec_of(1)
    bank = DeviceCounters(spec)
    seen = []
    for batch in range(4):
        bank.record_step(*random_step(spec, 2, 0))
        for _ in range(batch % 3):
            bank.record_step(random_step(spec, 2, 0)[0].float(), None)
        seen.append(bank.flush(batch_idx=batch).result().misuse)
    assert seen == [{}, {"misfit": 1}, {"misfit": 2}, {}]


def test_a_ledger_counts_notes_and_gives_each_out_once(caplog):
    ledger = Misuse(strict=True)
    ledger.note("misfit", "first")
    ledger.note("misfit", "second", count=2)
    assert messages(caplog) == ["first"]
    assert ledger.take() == {"misfit": 3}
    assert ledger.take() == {}
    with pytest.raises(CounterError, match="third"):
        ledger.report("misfit", "third")
    assert ledger.take() == {"misfit": 1}
