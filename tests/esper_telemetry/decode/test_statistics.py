"""Counts, bytes and values by type and field."""

from __future__ import annotations

import math

import esper_telemetry
from esper_telemetry import read
from esper_telemetry.decode.statistics import OTHERS, count_events, flatten
from esper_telemetry.v1 import steps_pb2, training_pb2


def by_name(events, **options):
    return {statistics.name: statistics for statistics in count_events(events, **options).values()}


def test_counts_and_bytes_add_up(record_run):
    folder = record_run()
    events = list(read(folder))
    found = by_name(events)
    assert sum(statistics.events for statistics in found.values()) == len(events)
    assert sum(statistics.bytes for statistics in found.values()) == sum(event.size for event in events)
    sizes = [statistics.bytes for statistics in found.values()]
    assert sizes == sorted(sizes, reverse=True)


def test_numbers_have_bounds_mean_and_last_and_nan_apart(record_run):
    def emit(run):
        for value in (2.0, -1.0, math.nan, 5.0, math.inf):
            run.emit(training_pb2.ScalarLogged, name="loss", value=value)
        run.emit(training_pb2.ScalarLogged, name="other")

    field = by_name(read(record_run(emit)))["scalar.logged"].fields["value"]
    assert (field.events, field.values, field.finite, field.non_finite) == (5, 5, 3, 2)
    assert (field.least, field.most, field.mean, field.last) == (-1.0, 5.0, 2.0, math.inf)
    assert field.unit == "1"
    assert field.bytes == 5 * 9


def test_texts_labels_and_truth_values_are_counted(record_run):
    found = by_name(read(record_run()))
    assert found["seed.culled"].fields["from_stage"].texts == {"TRAINING": 1}
    assert found["ppo.update_completed"].fields["skipped"].texts == {"false": 1}
    assert found["scalar.logged"].fields["name"].texts == {"loss": 2}


def test_parts_of_messages_and_maps_have_names_of_their_own(record_run):
    found = by_name(read(record_run()))
    fields = found["ppo.update_completed"].fields
    assert fields["heads.head"].texts == {"op": 1, "slot": 1}
    assert (fields["heads.head"].events, fields["heads.head"].values) == (1, 2)
    assert fields["heads.entropy"].unit == "nat"
    assert (fields["heads"].events, fields["heads"].values) == (1, 0)
    assert fields["heads"].bytes > 0
    wait = found["policy.action_distribution"].fields["action_counts.wait"]
    assert (wait.total, wait.unit) == (7, "{action}")


def test_too_many_texts_are_counted_together(record_run):
    def emit(run):
        for number in range(200):
            run.emit(training_pb2.ScalarLogged, name=f"n{number}", value=1.0)

    texts = by_name(read(record_run(emit)))["scalar.logged"].fields["name"].texts
    assert texts.total() == 200
    assert len(texts) == 65
    assert texts[OTHERS] == 136


def test_long_texts_are_told_apart_by_their_beginning(record_run):
    def emit(run):
        for number in range(3):
            run.log_text("sample", f"{number}" + "x" * 100_000)

    texts = by_name(read(record_run(emit)))["text.logged"].fields["text"].texts
    assert texts == {f"{number}" + "x" * 79 + OTHERS: 1 for number in range(3)}


def test_ranks_are_summed_or_kept_apart(tmp_path):
    for rank in range(2):
        with esper_telemetry.start_run(tmp_path, name="r", run_id="r", rank=rank) as run:
            for number in range(3):
                run.emit(training_pb2.ScalarLogged, name="n", value=float(number + rank))
    records = read(tmp_path / "r", types="scalar.logged")
    (together,) = count_events(records).values()
    assert (together.events, together.fields["value"].total) == (6, 9.0)
    apart = count_events(records, by_rank=True)
    assert {key.rank: found.fields["value"].total for key, found in apart.items()} == {0: 3.0, 1: 6.0}


def test_rows_of_a_block_share_its_bytes(record_run):
    def emit(run):
        columns = [{"field": "op_masked", "flags": bytes([5])}]
        block = steps_pb2.StepBlock(row_type="esper.v1.ActionTaken", steps=1, envs=3, columns=columns)
        run.bind(batch_idx=1).emit(block)

    folder = record_run(emit)
    rows = by_name(read(folder))["policy.action_taken"]
    block = by_name(read(folder, expand=False))["steps.block"]
    assert (rows.events, block.events) == (3, 1)
    assert rows.bytes == block.bytes


def test_flatten_gives_single_values():
    data = {"a": 1, "b": [1, 2], "c": {"d": {"e": 3}}, "f": [{"g": 4}, {"g": 5}], "h": []}
    assert list(flatten(data)) == [("a", 1), ("b", 1), ("b", 2), ("c.d.e", 3), ("f.g", 4), ("f.g", 5)]
