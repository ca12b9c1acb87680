"""Snapshots become events with the names of the schema, and nothing that was not measured is set."""

from __future__ import annotations

import math

import torch

import esper_telemetry as et
from esper_telemetry import events
from esper_telemetry.counters import CounterSpec, DeviceCounters, emit_snapshot
from esper_telemetry.schema import to_plain
from tests.esper_telemetry.counters.naive import count, random_step, spec_of


def plain_events(bank, batch_idx=1):
    snapshot = bank.flush(batch_idx=batch_idx).result()
    return {
        (cls, fields.get("name") or fields.get("head")): to_plain(cls(**fields)) for cls, fields in snapshot.events()
    }


def test_heads_become_an_action_distribution_and_mask_hit_rates():
    spec = spec_of(3)
    steps = [random_step(spec, 6, seed) for seed in range(4)]
    bank = DeviceCounters(spec)
    for step in steps:
        bank.record_step(*step)
    found, expected = plain_events(bank), count(spec, steps)
    distribution = found[events.ActionDistribution, "op"]
    assert distribution["head"] == "op"
    assert distribution["action_counts"] == dict(zip(spec.heads["op"], expected["action_count"]["op"], strict=True))
    assert distribution["success_counts"] == dict(zip(spec.heads["op"], expected["success_count"]["op"], strict=True))
    rates = found[events.MaskHitRates, None]
    assert rates["mask_hits"] == expected["restricted"]
    assert rates["mask_total"] == expected["rows"]
    assert rates["batches"] == 1
    for head in rates["heads"]:
        name = head["head"]
        assert head == {
            "head": name,
            "total": 24,
            "hit": expected["restricted"][name],
            "forced": expected["forced"][name],
            "relevant": expected["relevant"][name],
            "empty": expected["empty"][name],
            "invalid_selected": expected["invalid_selected"][name],
            "out_of_range": expected["out_of_range"][name],
            "options": list(spec.heads[name]),
            "masked": [24 - valid for valid in expected["valid_count"][name]],
            "chosen": expected["action_count"][name],
            "succeeded": expected["success_count"][name],
        }


def test_every_head_has_its_distribution_and_another_may_come_first():
    spec = CounterSpec({"slot": 2, "op": ("A", "B")}, deciding_head="op")
    bank = DeviceCounters(spec)
    bank.record_actions(torch.tensor([[0, 1], [7, 1]]))
    beside = {"invalid_rows": 0, "left_out": 0, "doubtful": 0, "batches": 1}
    distributions = [to_plain(cls(**fields)) for cls, fields in bank.flush(batch_idx=1).result().events()][:-1]
    assert distributions == [
        {"head": "op", "action_counts": {"A": 0, "B": 2}, "total": 2, "out_of_range": 0, **beside},
        {"head": "slot", "action_counts": {"0": 1, "1": 0}, "total": 2, "out_of_range": 1, **beside},
    ]


def test_masks_alone_become_hit_rates_without_choices():
    spec = spec_of(1)
    bank = DeviceCounters(spec)
    bank.record_masks(random_step(spec, 3, 0)[1])
    found = plain_events(bank)
    assert {cls for cls, _ in found} == {events.MaskHitRates, events.CountersChecked}
    heads = found[events.MaskHitRates, None]["heads"]
    assert set(heads[0]) == {"head", "total", "hit", "forced", "empty", "options", "masked"}


def test_a_batch_without_records_has_no_events():
    assert plain_events(DeviceCounters(spec_of(2, scalars=("reward",), histograms={"td": (0.0,)}))) == {}


def test_what_was_not_counted_is_in_the_event_of_its_batch_and_summed_in_the_last_event(tmp_path):
    spec = spec_of(1, scalars=("reward",))
    bank = DeviceCounters(spec)
    with et.start_run(tmp_path, name="counted") as run:
        for batch in (1, 2):
            bank.record_step(*random_step(spec, 4, 0), valid=torch.tensor([True, False, True, True]))
            bank.record_step(random_step(spec, 3, 0)[0].float(), None)
            bank.record_scalar("reward", torch.ones(2))
            bank.record_scalar("rewrad", torch.ones(2))
            bank.flush(batch_idx=batch)
            for snapshot in bank.poll():
                emit_snapshot(run, snapshot)
    (folder,) = tmp_path.iterdir()
    found = list(et.read(folder))
    first, second = (event.data for event in found if event.type == "counters.checked")
    assert first["decisions"] == second["decisions"] == 3
    assert (first["invalid_rows"], first["left_out"], first["values_left_out"]) == (1, 3, 2)
    assert first["misuse"] == second["misuse"] == {"misfit": 2}
    assert found[-1].data["results"] == {
        "counters/invalid_rows": 2.0,
        "counters/left_out": 6.0,
        "counters/values_left_out": 4.0,
        "counters/misuse/misfit": 4.0,
    }


def test_values_become_summaries_with_what_was_finite():
    spec = spec_of(1, scalars=("reward", "loss"), histograms={"td": (0.0,)})
    bank = DeviceCounters(spec)
    bank.record_scalar("reward", torch.tensor([1.0, 3.0]))
    bank.record_scalar("loss", torch.tensor([math.nan]))
    bank.record_scalar("td", torch.tensor([-1.0, math.nan]))
    found = plain_events(bank)
    assert found[events.ScalarSummarized, "reward"] == {
        "name": "reward",
        "count": 2,
        "sum": 4.0,
        "min": 1.0,
        "max": 3.0,
        "mean": 2.0,
        "std": 1.0,
        "non_finite": 0,
    }
    assert found[events.ScalarSummarized, "loss"] == {"name": "loss", "count": 1, "non_finite": 1}
    histogram = found[events.HistogramSummarized, "td"]
    assert histogram == {"name": "td", "edges": [0.0], "counts": [1, 0], "nan": 1}


def test_a_sum_that_overflows_is_left_out():
    spec = spec_of(1, scalars=("reward",))
    bank = DeviceCounters(spec)
    bank.record_scalar("reward", torch.full((2,), 1.7e308, dtype=torch.float64))
    assert plain_events(bank)[events.ScalarSummarized, "reward"] == {
        "name": "reward",
        "count": 2,
        "min": 1.7e308,
        "max": 1.7e308,
        "non_finite": 0,
    }


def test_coalesced_batches_are_said():
    spec = spec_of(1)
    bank = DeviceCounters(spec, slots=1)
    for batch in range(4):
        bank.record_step(*random_step(spec, 2, batch))
        bank.flush(batch_idx=batch)
    _, rest = bank.close()
    assert {fields["batches"] for _, fields in rest.events()} == {3}
    assert rest.context == {"batch_idx": 3, "device": "cpu"}


def test_a_run_records_a_snapshot_with_its_batch_and_device(tmp_path):
    spec = spec_of(2, scalars=("reward",), histograms={"td": (0.0,)})
    bank = DeviceCounters(spec)
    bank.record_step(*random_step(spec, 2, 0), scalars={"reward": torch.ones(2)})
    bank.record_scalar("td", torch.ones(2))
    with et.start_run(tmp_path, name="counted") as run:
        emit_snapshot(run, bank.flush(batch_idx=7).result(), episodes_completed=3)
        assert run.stats().dropped == 0
    (folder,) = tmp_path.iterdir()
    found = [event for event in et.read(folder) if event.data.get("batch_idx") == 7]
    names = {"policy.action_distribution", "policy.mask_hit_rates", "scalar.summarized", "histogram.summarized"}
    names.add("counters.checked")
    assert {event.type for event in found} == names
    assert {(event.data["device"], event.data["episodes_completed"]) for event in found} == {("cpu", 3)}
