"""Step detail: a block a batch, a few bytes a row, and the same rows as an eager emitter."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import zstandard

import esper_telemetry as et
from esper.v1 import trainer_pb2
from esper_telemetry.counters import CounterSpec, DeviceCounters, StepRow, emit_snapshot
from esper_telemetry.decode.steps import expand
from esper_telemetry.errors import CounterError
from esper_telemetry.schema import MAX_EVENT_BYTES, to_plain
from esper_telemetry.testing import FakeClock
from esper_telemetry.v1 import steps_pb2
from tests.esper_telemetry.counters.naive import by_head, random_step

HEADS = {
    "op": ("WAIT", "GERMINATE", "CULL", "FOSSILIZE"),
    "slot": ("early", "mid", "late"),
    "blueprint": ("NOOP", "CONV_LIGHT", "ATTENTION", "NORM", "DEPTHWISE"),
    "blend": ("LINEAR", "SIGMOID", "GATED"),
}
ROW = StepRow(
    trainer_pb2.ActionTaken,
    actions={"op": "op", "slot": "slot_id", "blueprint": "blueprint_id", "blend": "blend_id"},
    masked={head: f"{head}_masked" for head in HEADS},
    forced={head: f"{head}_forced" for head in HEADS},
    success="action_success",
    scalars={"reward": "reward"},
)
FIELDS = {"op": "op", "slot": "slot_id", "blueprint": "blueprint_id", "blend": "blend_id"}


def spec_with(row=ROW, **more):
    return CounterSpec(HEADS, row=row, **more)


def eager_payload(spec, action, mask, took, reward=None):
    """Return what an eager emitter would have put into one ActionTaken."""
    fields = {"action_success": took, "reward": reward}
    for index, (head, options) in enumerate(spec.heads.items()):
        at = spec.option_offsets[head]
        valid = mask[at : at + len(options)]
        if 0 <= action[index] < len(options):
            option = options[action[index]]
            fields[FIELDS[head]] = f"LIFECYCLE_OP_{option}" if head == "op" else option
        fields[f"{head}_masked"] = not all(valid)
        fields[f"{head}_forced"] = sum(valid) == 1
    return to_plain(trainer_pb2.ActionTaken(**fields))


def blocks_of(snapshot):
    return [cls(**fields) for cls, fields in snapshot.events() if cls is steps_pb2.StepBlock]


def rows_of(snapshot, **context):
    return [
        row
        for block in blocks_of(snapshot)
        for row in expand(block, trainer_pb2.ActionTaken, context=context, time_unix_nano=1, seq=1)
    ]


@pytest.mark.parametrize("form", ["packed", "dict"])
@pytest.mark.parametrize("envs", [1, 3, 16])
def test_rows_equal_those_of_an_eager_emitter(form, envs):
    spec = spec_with()
    bank = DeviceCounters(spec, steps=True, strict=True)
    expected = []
    for number in range(7):
        packed = random_step(spec, envs, number)
        reward = torch.randn(envs, generator=torch.Generator().manual_seed(number))
        step = packed if form == "packed" else by_head(spec, packed)
        bank.record_step(*step, scalars={"reward": reward}, inner_epoch=number + 1, episode=list(range(40, 40 + envs)))
        for env, (action, mask, took) in enumerate(zip(*(part.tolist() for part in packed), strict=True)):
            payload = eager_payload(spec, action, mask, took, reward[env].item())
            context = {"env_id": env, "inner_epoch": number + 1, "episode": 40 + env, "device": "cpu", "batch_idx": 9}
            expected.append((context, payload))
    found = rows_of(bank.flush(batch_idx=9).result(), batch_idx=9, episodes_completed=12)
    assert [(row.context, row.payload) for row in found] == expected
    assert {row.type_name for row in found} == {"esper.v1.ActionTaken"}


def test_a_record_holds_the_same_rows_as_one_of_eager_events(tmp_path):
    spec = spec_with()
    steps = [random_step(spec, 4, seed, wild=False) for seed in range(5)]
    with et.start_run(tmp_path / "eager", name="eager", schemas=[trainer_pb2]) as run:
        for number, step in enumerate(steps):
            for env, (action, mask, took) in enumerate(zip(*(part.tolist() for part in step), strict=True)):
                payload = eager_payload(spec, action, mask, took)
                where = run.bind(env_id=env, inner_epoch=number + 1, device="cpu", batch_idx=1)
                where.emit(trainer_pb2.ActionTaken, **payload | {"op": f"LIFECYCLE_OP_{payload['op']}"})
    bank = DeviceCounters(spec, steps=True)
    with et.start_run(tmp_path / "block", name="block", schemas=[trainer_pb2]) as run:
        for number, step in enumerate(steps):
            bank.record_step(*step, inner_epoch=number + 1)
        emit_snapshot(run, bank.flush(batch_idx=1).result(), episodes_completed=4)
    eager, block = (
        [
            row.data
            for folder in (tmp_path / name).iterdir()
            for row in et.read(folder)
            if row.type == "policy.action_taken"
        ]
        for name in ("eager", "block")
    )
    assert len(block) == 20
    assert block == eager


def test_each_row_has_the_time_of_its_step():
    clock = FakeClock(wall=5_000_000_000)
    spec = spec_with()
    bank = DeviceCounters(spec, steps=True, clock=clock)
    for number in range(3):
        bank.record_step(*random_step(spec, 2, number))
        clock.advance(0.25)
    times = [row.time_unix_nano for row in rows_of(bank.flush(batch_idx=1).result())]
    assert times == [5_000_000_000] * 2 + [5_250_000_000] * 2 + [5_500_000_000] * 2


def test_a_row_takes_no_more_than_three_bytes():
    spec = spec_with()
    bank = DeviceCounters(spec, steps=True)
    for number in range(512):
        bank.record_step(*random_step(spec, 16, number), inner_epoch=number + 1)
    payload = b"".join(block.SerializeToString() for block in blocks_of(bank.flush(batch_idx=1).result()))
    assert len(zstandard.compress(payload, 3)) <= 3 * 512 * 16


def test_a_large_batch_is_cut_into_blocks_that_fit_an_event():
    spec = spec_with()
    bank = DeviceCounters(spec, steps=True)
    steps = [random_step(spec, 60_000, number) for number in range(3)]
    for number, step in enumerate(steps):
        bank.record_step(*step, inner_epoch=number + 1)
    snapshot = bank.flush(batch_idx=1).result()
    blocks = blocks_of(snapshot)
    assert len(blocks) > 3
    assert all(block.ByteSize() < MAX_EVENT_BYTES for block in blocks)
    rows = rows_of(snapshot)
    assert [row.context["env_id"] for row in rows] == list(range(60_000)) * 3
    assert rows[70_000].payload == eager_payload(spec, *(part[10_000].tolist() for part in steps[1]))


def test_steps_of_different_width_become_blocks_of_their_own():
    spec = spec_with()
    bank = DeviceCounters(spec, steps=True)
    for number, envs in enumerate((4, 4, 2, 4)):
        bank.record_step(*random_step(spec, envs, number), inner_epoch=number)
    rows = rows_of(bank.flush(batch_idx=1).result())
    assert sorted((row.context["inner_epoch"], row.context["env_id"]) for row in rows) == [
        (number, env) for number, envs in enumerate((4, 4, 2, 4)) for env in range(envs)
    ]


def test_early_folds_keep_the_rows_of_a_batch_together():
    spec = spec_with()
    bank = DeviceCounters(spec, steps=True, max_pending_bytes=20_000)
    for number in range(50):
        bank.record_step(*random_step(spec, 8, number), inner_epoch=number)
    rows = rows_of(bank.flush(batch_idx=1).result())
    assert [row.context["inner_epoch"] for row in rows] == [number for number in range(50) for _ in range(8)]


def test_rows_of_coalesced_flushes_come_with_the_next_snapshot():
    spec = spec_with()
    bank = DeviceCounters(spec, steps=True, slots=1)
    for number in range(4):
        bank.record_step(*random_step(spec, 2, number), inner_epoch=number)
        bank.flush(batch_idx=number)
    assert [[row.context["inner_epoch"] for row in rows_of(one)] for one in bank.close()] == [
        [0, 0],
        [1, 1, 2, 2, 3, 3],
    ]


def test_rows_beyond_the_room_are_shed_counted_and_never_block():
    spec = spec_with()
    bank = DeviceCounters(spec, steps=True, detail_bytes=2000, max_pending_bytes=4000)
    for number in range(60):
        bank.record_step(*random_step(spec, 8, number))
    snapshot = bank.flush(batch_idx=1).result()
    shed = sum(block.rows_shed for block in blocks_of(snapshot))
    assert shed > 0
    assert len(rows_of(snapshot)) + shed == 60 * 8
    assert snapshot.rows["op"] == 60 * 8, "counts are never shed"


def test_shed_rows_are_said_even_when_no_row_was_kept():
    spec = spec_with()
    bank = DeviceCounters(spec, steps=True, detail_bytes=1)
    bank.record_step(*random_step(spec, 8, 0))
    (block,) = blocks_of(bank.flush(batch_idx=1).result())
    assert (block.steps, block.envs, block.rows_shed) == (0, 0, 8)
    assert list(expand(block, trainer_pb2.ActionTaken, context={}, time_unix_nano=1, seq=1)) == []


def test_what_is_not_recorded_is_unset_in_the_rows():
    spec = spec_with()
    bank = DeviceCounters(spec, steps=True)
    actions, masks, success = random_step(spec, 2, 0, wild=False)
    bank.record_actions(actions)
    bank.record_step(actions, None, success)
    bank.record_masks(masks)
    alone, with_success = rows_of(bank.flush(batch_idx=1).result())[::2]
    assert set(alone.payload) == {"op", "slot_id", "blueprint_id", "blend_id"}
    assert set(with_success.payload) == {*alone.payload, "action_success"}


@pytest.mark.parametrize(
    ("dtype", "exact"), [(torch.float64, True), (torch.float32, True), (torch.bfloat16, True), (torch.int64, True)]
)
def test_a_reward_keeps_its_value_in_any_precision(dtype, exact):
    spec = spec_with()
    bank = DeviceCounters(spec, steps=True)
    reward = torch.tensor([1 / 3, -7.0, 1e-3]).to(dtype)
    bank.record_step(*random_step(spec, 3, 0), scalars={"reward": reward})
    assert [row.payload["reward"] for row in rows_of(bank.flush(batch_idx=1).result())] == reward.double().tolist()


def test_a_scalar_that_is_not_one_for_each_environment_is_no_column():
    spec = spec_with(scalars=("reward",))
    bank = DeviceCounters(spec, steps=True)
    bank.record_step(*random_step(spec, 3, 0), scalars={"reward": torch.tensor(2.0)})
    snapshot = bank.flush(batch_idx=1).result()
    assert all("reward" not in row.payload for row in rows_of(snapshot))
    assert snapshot.scalars["reward"].count == 1


def test_environments_may_have_numbers_of_their_own():
    spec = spec_with()
    bank = DeviceCounters(spec, steps=True, env_ids=[7, 3])
    bank.record_step(*random_step(spec, 2, 0))
    assert [row.context["env_id"] for row in rows_of(bank.flush(batch_idx=1).result())] == [7, 3]


def test_detail_that_does_not_fit_is_reported_and_costs_no_count(caplog):
    spec = spec_with()
    bank = DeviceCounters(spec, steps=True, env_ids=[7, 3])
    bank.record_step(*random_step(spec, 4, 0, wild=False))
    snapshot = bank.flush(batch_idx=1).result()
    assert snapshot.rows["op"] == 4
    assert blocks_of(snapshot)[0].rows_shed == 4
    assert "env_ids has 2 values for the 4 environments" in caplog.text


@pytest.mark.parametrize(
    ("wrong", "kind", "rows"),
    [
        ({"scalars": torch.ones(3)}, "misfit", 12),
        ({"scalars": torch.ones(1)}, "misfit", 12),
        ({"scalars": {"reward": 1.5}}, "misfit", 9),
        ({"inner_epoch": None}, "detail", 0),
        ({"inner_epoch": "two"}, "detail", 0),
        ({"step": None}, "detail", 9),
    ],
    ids=repr,
)
def test_a_later_step_with_something_wrong_beside_it_costs_no_count_and_what_detail_it_costs_is_said(wrong, kind, rows):
    spec = spec_with(scalars=("reward",))
    bank = DeviceCounters(spec, steps=True)
    for number in range(4):
        beside = {"scalars": {"reward": torch.ones(3)}, "inner_epoch": number + 1}
        bank.record_step(*random_step(spec, 3, number, wild=False), **beside | (wrong if number == 1 else {}))
    snapshot = bank.flush(batch_idx=1).result()
    assert snapshot.rows["op"] == 12, "its decisions are counted"
    assert snapshot.scalars["reward"].count == (12 if "scalars" not in wrong else 9)
    assert bank.misuse[kind] >= 1
    assert len(rows_of(snapshot)) == rows
    assert sum(block.rows_shed for block in blocks_of(snapshot)) == 12 - rows


def test_heads_of_many_options_keep_their_indices():
    spec = CounterSpec(
        {"op": HEADS["op"], "slot": tuple(f"slot{i}" for i in range(300))},
        row=StepRow(trainer_pb2.ActionTaken, actions={"op": "op", "slot": "slot_id"}),
    )
    bank = DeviceCounters(spec, steps=True)
    actions = torch.tensor([[0, 299], [1, 128], [2, 300], [3, -1], [9, 0]])
    bank.record_actions(actions)
    payloads = [row.payload for row in rows_of(bank.flush(batch_idx=1).result())]
    assert payloads == [
        {"op": "WAIT", "slot_id": "slot299"},
        {"op": "GERMINATE", "slot_id": "slot128"},
        {"op": "CULL"},
        {"op": "FOSSILIZE"},
        {"slot_id": "slot0"},
    ]


def test_detail_crosses_in_the_one_copy_of_the_counts(monkeypatch):
    spec = spec_with()
    bank = DeviceCounters(spec, steps=True)
    bank.record_step(*random_step(spec, 2, 0))
    copies = []
    real = torch.Tensor.copy_
    hosts = {slot.host.untyped_storage().data_ptr() for slot in bank._reader._slots}

    def counted(target, source, non_blocking=False):
        copies.append(target.untyped_storage().data_ptr() in hosts)
        return real(target, source, non_blocking)

    monkeypatch.setattr(torch.Tensor, "copy_", counted)
    bank.flush(batch_idx=1)
    assert sum(copies) == 1


def test_a_bank_needs_to_know_what_a_row_is():
    with pytest.raises(CounterError, match=r"CounterSpec\(row=StepRow"):
        DeviceCounters(CounterSpec(HEADS), steps=True)


def test_blocks_are_plain_values_that_emit_takes():
    spec = spec_with()
    bank = DeviceCounters(spec, steps=True)
    bank.record_step(*random_step(spec, 2, 0), inner_epoch=1)
    (fields,) = bank.flush(batch_idx=1).result().blocks

    def walk(value):
        assert not isinstance(value, (torch.Tensor, np.generic, np.ndarray))
        for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(one)

    walk(fields)


@pytest.mark.parametrize("number", [1, 300])
def test_rows_that_were_no_decision_are_no_rows_wherever_they_are_read(number, tmp_path):
    spec = spec_with(scalars=("reward",))
    bank = DeviceCounters(spec, steps=True, strict=True)
    rng = torch.Generator().manual_seed(number)
    expected = []
    for step in range(number):
        actions, masks, success = random_step(spec, 5, step, wild=False)
        valid = torch.rand(5, generator=rng) < 0.5
        reward = torch.arange(5.0) + 10 * step
        bank.record_step(actions, masks, success, {"reward": reward}, valid=valid, inner_epoch=step)
        expected += [(step, env, reward[env].item()) for env in range(5) if valid[env]]
    snapshot = bank.flush(batch_idx=1).result()
    assert (snapshot.rows["op"], snapshot.invalid_rows) == (len(expected), 5 * number - len(expected))
    assert snapshot.scalars["reward"].count == len(expected), "and their rewards are in no summary"
    with et.start_run(tmp_path, name="x", schemas=[trainer_pb2]) as run:
        emit_snapshot(run, snapshot)
    found = [event for event in et.read(run.folder) if event.type == "policy.action_taken"]
    assert [(e.data["inner_epoch"], e.data["env_id"], e.data["reward"]) for e in found] == expected
    lines = subprocess.run(
        [sys.executable, "tools/decode_records.py", str(run.folder)], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    decoded = [json.loads(line)["data"] for line in lines if '"policy.action_taken"' in line]
    assert [(data["inner_epoch"], data["env_id"], data["reward"]) for data in decoded] == expected
