"""What panels declare is what they read, what they show is what the record holds, and live equals replay."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from statistics import median
from typing import Any

import pytest

from esper.v1 import seed_pb2, trainer_pb2
from esper_telemetry import read
from esper_telemetry.schema import CONTEXT_FIELDS, event_type
from esper_telemetry.v1 import logged_pb2, options_pb2, process_pb2, rl_pb2, run_pb2, training_pb2
from esper_telemetry.views import PANELS, Look, RunView, document
from esper_telemetry.views.batches import BatchTable
from esper_telemetry.views.figure import Grid, Heat, Histogram, Lanes, Series, Stack, Table
from esper_telemetry.views.panel import EVERY, FOREIGN, ViewFacts

MODULES = (seed_pb2, trainer_pb2, logged_pb2, process_pb2, rl_pb2, run_pb2, training_pb2)
SEEN_BY_THE_VIEW = ("run.started", "run.finished", "stream.finished", "telemetry.dropped", "telemetry.level_changed")


def event_classes() -> dict[str, Any]:
    """Return the built-in event classes by short name."""
    found = {}
    for module in MODULES:
        for descriptor in module.DESCRIPTOR.message_types_by_name.values():
            name = descriptor.GetOptions().Extensions[options_pb2.event].name
            if name:
                found[name] = getattr(module, descriptor.name)
    return found


CLASSES = event_classes()


def full_message(cls: Any, at: int = 1) -> Any:
    """Return a message with every field set, messages inside it too."""
    message = cls()
    for field in cls.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            getattr(message, field.name)["part"] = scalar_of(value, at)
        elif field.message_type is not None:
            inner = full_message(field.message_type._concrete_class, at)
            target = getattr(message, field.name)
            target.append(inner) if field.is_repeated else target.CopyFrom(inner)
        elif field.is_repeated:
            getattr(message, field.name).append(scalar_of(field, at))
        else:
            setattr(message, field.name, scalar_of(field, at))
    return message


def scalar_of(field: Any, at: int) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[min(at, len(field.enum_type.values) - 1)].number
    if field.cpp_type == field.CPPTYPE_STRING:
        return b"\1" if field.type == field.TYPE_BYTES else field.name
    if field.cpp_type == field.CPPTYPE_BOOL:
        return True
    return 0.5 if field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT) else 1


class Watched(dict):
    """A dict that remembers which names were asked for."""

    def __init__(self, values: dict, asked: set[str], prefix: str = "") -> None:
        super().__init__({name: self._wrap(value, asked, f"{prefix}{name}.") for name, value in values.items()})
        self.asked, self.prefix = asked, prefix

    @staticmethod
    def _wrap(value: Any, asked: set[str], prefix: str) -> Any:
        if isinstance(value, list):
            return [Watched(item, asked, prefix) if isinstance(item, dict) else item for item in value]
        return value

    def get(self, name, default=None):
        self.asked.add(self.prefix + name)
        return super().get(name, default)

    def __getitem__(self, name):
        self.asked.add(self.prefix + name)
        return super().__getitem__(name)

    def __contains__(self, name):
        self.asked.add(self.prefix + str(name))
        return super().__contains__(name)


CONTEXT = {
    "env_id": 0,
    "device": "cpu",
    "episode": 1,
    "batch_idx": 1,
    "inner_epoch": 1,
    "global_epoch": 1,
    "episodes_completed": 1,
}


def every_event(write_record) -> list:
    """Return events of every built-in type with every field set."""
    frame = [(full_message(cls, at), dict(CONTEXT)) for cls in CLASSES.values() for at in (1, 2, 3, 4)]
    culled = full_message(seed_pb2.SeedStageChanged)
    culled.to_stage = seed_pb2.SEED_STAGE_BLENDING
    odd = training_pb2.ScalarLogged(name="loss", value=math.nan)
    return list(read(write_record([*frame, (culled, dict(CONTEXT)), (odd, dict(CONTEXT)), *frame]), strict=False))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.id)
def test_what_a_panel_declares_exists_in_the_schema(panel):
    for name, fields in panel.reads.items():
        if name in (EVERY, FOREIGN):
            continue
        assert name in CLASSES, f"{panel.id} reads {name!r}, which nothing emits"
        for path in fields:
            if path in CONTEXT_FIELDS:
                continue
            descriptor = CLASSES[name].DESCRIPTOR
            for part in path.split("."):
                field = descriptor.fields_by_name.get(part)
                assert field is not None, f"{panel.id} reads {name}.{path}, which the schema has not"
                descriptor = field.message_type
    assert event_type(training_pb2.ScalarLogged).name == "scalar.logged"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.id)
def test_a_panel_reads_what_it_declares_and_nothing_else(panel, write_record):
    fold = panel.fold()
    asked: dict[str, set[str]] = defaultdict(set)
    for event in every_event(write_record):
        if event.type in panel.reads or EVERY in panel.reads:
            event._data = Watched(event.data, asked[event.type])
            fold.add(event)
    fold.figures(Look(ViewFacts()))
    declared = {name: set(fields) - {EVERY} for name, fields in panel.reads.items() if name not in (EVERY, FOREIGN)}
    if panel.id == "feed":
        return  # it shows every field there is
    for name, fields in declared.items():
        read_by_view = set(fields) if panel.id == "truth" and name in SEEN_BY_THE_VIEW else set()
        outer = {path.partition(".")[0] for path in fields}
        unread = {path for path in fields if path not in asked[name]} - read_by_view
        assert not unread, f"{panel.id} declares {name} {sorted(unread)} and never reads it"
        undeclared = asked[name] - fields - outer - set(CONTEXT_FIELDS)
        assert not undeclared, f"{panel.id} reads {name} {sorted(undeclared)} and does not declare it"


def test_every_panel_shows_something_when_every_event_came(write_record):
    view = RunView(PANELS)
    view.feed(every_event(write_record))
    shown = {panel.panel.id: panel for panel in view.figures()}
    for panel in PANELS:
        if panel.id != "custom":
            assert shown[panel.id].figures, f"{panel.id}: {shown[panel.id].absence}"
            assert not shown[panel.id].absence
    json.dumps(document([panel.figures for panel in shown.values()]), allow_nan=False)


def test_live_equals_replay(trained_events):
    live, replay = RunView(PANELS), RunView(PANELS)
    replay.feed(trained_events)
    for at in range(0, len(trained_events), 37):
        live.feed(trained_events[at : at + 37])
        live.figures()  # looking changes nothing
    assert document([p.figures for p in live.figures()]) == document([p.figures for p in replay.figures()])


def shown(view, panel, kind, title=""):
    look = Look(view.facts, points=10_000, rows=1000)
    return next(f for f in view.panel_figures(panel, look).figures if isinstance(f, kind) and title in f.title)


def test_learning_curves_are_the_values_of_the_record(trained_events, trained_view):
    series = shown(trained_view, "learning", Series, "validation accuracy")
    expected = defaultdict(list)
    for event in trained_events:
        if event.type == "epoch.completed":
            data = event.data
            x = data["global_epoch"] - 1 + data["inner_epoch"] / 12
            expected[f"env {data['env_id']}"].append((x, data["val_accuracy"], event.seq))
    assert {line.name: [p[:3] for p in line.points] for line in series.lines} == expected
    for line in series.lines:
        starts = [p.x for p in line.points if not p.joined]
        assert starts == [1 / 12, 1 + 1 / 12, 2 + 1 / 12]  # each episode has a host of its own


def test_choices_and_failures_are_the_counts_of_the_record(trained_events, trained_view):
    stack = shown(trained_view, "actions", Stack)
    chosen, failed = Counter(), Counter()
    for event in trained_events:
        if event.type == "policy.action_distribution":
            data = event.data
            for name, count in data["action_counts"].items():
                chosen[data["batch_idx"], name] += count
                failed[data["batch_idx"], name] += count - data["success_counts"].get(name, 0)
    for at, amounts, hatched in zip(stack.at, stack.amounts, stack.hatched, strict=True):
        for part, amount, not_done in zip(stack.parts, amounts, hatched, strict=True):
            assert amount == chosen[int(at), part]
            assert not_done == failed[int(at), part]


def test_mask_shares_are_ratios_of_the_counts(trained_events, trained_view):
    masked = shown(trained_view, "masks", Heat, "Masked")
    chosen = shown(trained_view, "masks", Heat, "Chosen")
    seen = 0
    for event in trained_events:
        if event.type != "policy.mask_hit_rates":
            continue
        column = masked.at.index(event.data["batch_idx"])
        for head in event.data["heads"]:
            for at, option in enumerate(head["options"]):
                row = next(
                    i
                    for i, one in enumerate(zip(masked.groups, masked.rows, strict=True))
                    if one == (head["head"], option)
                )
                free = head["total"] - head["masked"][at]
                assert masked.values[row][column] == head["masked"][at] / head["total"]
                assert masked.counts[row][column] == (head["masked"][at], head["total"])
                assert chosen.values[row][column] == (head["chosen"][at] / free if free else None)
                seen += 1
    assert seen == sum(value is not None for row in masked.values for value in row)


def test_reward_components_add_up_to_the_total_that_is_recorded(trained_events, trained_view):
    stack = shown(trained_view, "rewards", Stack)
    sums = defaultdict(float)
    for event in trained_events:
        if event.type == "reward.summary":
            for name, value in event.data["summary"].items():
                sums[event.data["batch_idx"], name] += value
    for at, amounts in zip(stack.at, stack.amounts, strict=True):
        for part, amount in zip(stack.parts, amounts, strict=True):
            assert amount == pytest.approx(sums[int(at), part])
        assert sum(amounts) == pytest.approx(sums[int(at), "total_reward"])
    assert "add up" in stack.explanation
    assert "do not" not in stack.explanation


def test_contributions_count_what_was_measured_and_why_the_rest_was_not(trained_events, trained_view):
    table = shown(trained_view, "contributions", Table)
    found = {row[0].value: row for row in table.rows}
    by_slot = defaultdict(list)
    missing = Counter()
    for event in trained_events:
        if event.type == "counterfactual.computed":
            data = event.data
            if data["available"]:
                by_slot[data["slot_id"]].append(data["contribution"])
            else:
                missing[data["slot_id"], data["reason"].replace("_", " ")] += 1
    assert {name: row[1].value for name, row in found.items()} == {
        name: len(by_slot[name]) for name in ("early", "mid", "late") if name in found
    }
    for column, cells in zip(table.columns[5:], list(zip(*table.rows, strict=True))[5:], strict=True):
        for row, cell in zip(table.rows, cells, strict=True):
            assert cell.value == missing[row[0].value, column.name]
    for name, row in found.items():
        if by_slot[name]:
            assert str(row[2].value).startswith(f"{median(by_slot[name]):.4g}".replace("-", "\N{MINUS SIGN}")[:3])


def test_lanes_hold_every_stay_and_every_fate(trained_events, trained_view):
    lanes = shown(trained_view, "seeds", Lanes)
    stays = Counter(event.data["to_stage"].lower() for event in trained_events if event.type == "seed.stage_changed")
    drawn = Counter(interval.kind for lane in lanes.lanes for interval in lane.intervals)
    assert drawn == {kind: stays[kind] for kind, _ in lanes.kinds if stays[kind]}
    marks = Counter(mark.glyph for lane in lanes.lanes for mark in lane.marks)
    assert marks["✕"] == sum(event.type == "seed.culled" for event in trained_events)
    assert marks["▲"] == sum(event.type == "seed.germinated" for event in trained_events)
    for lane in lanes.lanes:
        for one, other in zip(lane.intervals, lane.intervals[1:], strict=False):
            assert one.end is not None
            assert one.end <= other.start
        assert all(
            interval.end is not None and int(interval.start) <= interval.end <= int(interval.start) + 1
            for interval in lane.intervals
        )


def test_phases_and_hosts_are_those_of_the_record(trained_events, trained_view):
    table = shown(trained_view, "throughput", Table)
    total = defaultdict(float)
    for event in trained_events:
        if event.type == "phase.timed":
            total[event.data["phase"]] += event.data["duration_ms"]
    assert {row[0].value: row[2].value for row in table.rows} == pytest.approx(total)
    hosts = shown(trained_view, "environments", Table)
    accuracies = sorted((e.data["val_accuracy"] for e in trained_events if e.type == "host.completed"), reverse=True)
    assert [row[2].value for row in hosts.rows] == accuracies
    grid = shown(trained_view, "environments", Grid)
    assert [tile.name for tile in grid.tiles] == ["env 0", "env 1"]


def test_histograms_and_costs_are_those_of_the_record(trained_events, trained_view):
    histogram = shown(trained_view, "distributions", Histogram)
    expected = [tuple(e.data["counts"]) for e in trained_events if e.type == "histogram.summarized"]
    assert list(histogram.counts) == expected
    costs = shown(trained_view, "health", Table)
    sizes, counts = Counter(), Counter()
    for event in trained_events:
        sizes[event.type] += event.size
        counts[event.type] += 1
    assert {row[0].value: row[2].value for row in costs.rows} == sizes
    assert {row[0].value: row[1].value for row in costs.rows} == counts


def test_heads_name_the_largest_entropy_of_their_options(trained_view):
    series = shown(trained_view, "heads", Series, "entropy")
    assert "op ln 4 = 1.386" in series.explanation
    for line in series.lines:
        highest = float(line.name.rpartition("(of ")[2].rstrip(")"))
        assert all(point.y <= highest + 0.01 for point in line.points)


def test_a_batch_that_was_done_again_counts_once(write_record, tmp_path):
    table = BatchTable()
    paths = []
    for attempt, count in ((1, 5), (2, 7)):
        counts = training_pb2.ActionDistribution(action_counts={"wait": count}, head="op"), {"batch_idx": 3}
        header = {"attempt": attempt, "producer_id": bytes([attempt] * 16), "path": tmp_path / f"{attempt}.esr.zst"}
        paths.append(write_record([counts], **header))
    for event in read(paths):
        table.add(event, 3, "cpu", event.data["action_counts"])
        table.add(event, 4, f"device {event.attempt}", {"wait": 1})
    first, second = table.stretches(100)
    assert first.counts == {"wait": 7}
    assert second.counts == {"wait": 2}
    joined = table.stretches(1)
    assert sum(one.counts["wait"] for one in joined) == 9
