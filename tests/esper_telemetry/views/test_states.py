"""The five states of a value, hostile texts, many environments, cut records: what a panel then shows."""

from __future__ import annotations

import json
import math

import pytest

from esper.v1 import seed_pb2, trainer_pb2
from esper_telemetry import events, read
from esper_telemetry.v1 import rl_pb2, training_pb2
from esper_telemetry.views import PANELS, CellState, Look, ReaderFindings, RunView, document
from esper_telemetry.views.axes import Places
from esper_telemetry.views.customevents import CustomEvents
from esper_telemetry.views.feed import KEPT, EventFeed, feed_row
from esper_telemetry.views.figure import Grid, Lanes, Series, Table
from esper_telemetry.views.namedscalars import MOST_NAMES
from esper_telemetry.views.quantiles import Sample

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202ereversed\x00'\"&"


def view_of(path) -> RunView:
    view = RunView(PANELS)
    records = read(path, strict=False)
    view.feed(records)
    view.reader_found(ReaderFindings(tuple(records.warnings), records.missing, dict(records.unknown)))
    return view


def first(view, panel, kind, title="", **look):
    look = Look(view.facts, **look)
    return next(f for f in view.panel_figures(panel, look).figures if isinstance(f, kind) and title in f.title)


def test_sixty_four_environments_are_sixty_four_lines_and_tiles(write_record):
    frame = [
        (
            training_pb2.EpochCompleted(val_loss=env + epoch / 100),
            {"env_id": env, "inner_epoch": epoch, "global_epoch": 1},
        )
        for epoch in (1, 2)
        for env in range(64)
    ]
    view = view_of(write_record(frame))
    series = first(view, "learning", Series, "validation loss")
    assert [line.name for line in series.lines] == [f"env {env}" for env in range(64)]
    assert [line.points[1].y for line in series.lines] == [env + 0.02 for env in range(64)]
    assert len(first(view, "environments", Grid).tiles) == 64
    assert first(view, "environments", Grid, rows=10).hidden == 54


def test_nan_is_a_measurement_and_unset_is_none(write_record):
    contexts = [{"env_id": 0, "inner_epoch": at, "global_epoch": 1} for at in (1, 2)]
    path = write_record(
        [
            (training_pb2.EpochCompleted(val_loss=math.nan, val_accuracy=0.0), contexts[0]),
            (training_pb2.EpochCompleted(val_loss=1.0), contexts[1]),
        ]
    )
    view = view_of(path)
    assert math.isnan(first(view, "learning", Series, "validation loss").lines[0].points[0].y)
    assert [p.y for p in first(view, "learning", Series, "validation accuracy").lines[0].points] == [0.0]
    tile = dict(first(view, "environments", Grid).tiles[0].items)
    assert tile["accuracy"].state is CellState.UNAVAILABLE
    assert tile["return"].state is CellState.NOT_YET


def test_a_new_episode_starts_from_nothing(write_record):
    def epoch(batch, **fields):
        return training_pb2.EpochCompleted(**fields), {
            "env_id": 0, "inner_epoch": 1, "global_epoch": batch, "episode": batch,
        }  # fmt: skip

    view = view_of(write_record([epoch(1, val_accuracy=90.0), epoch(2, val_loss=0.5)]))
    tile = dict(first(view, "environments", Grid).tiles[0].items)
    assert tile["accuracy"].value is None
    assert tile["best"].value is None


def test_a_panel_that_the_level_leaves_out_says_so(record_run):
    view = view_of(record_run(lambda run: None, level="lifecycle"))
    absent = {panel.id: reason for panel, reason in view.absent()}
    assert absent["ppo"] == "not recorded at level lifecycle: its events need level normal"
    assert absent["seeds"].startswith("no event of seed.germinated")


def test_a_level_below_normal_keeps_its_lifecycle(record_run):
    view = view_of(record_run(level="lifecycle"))
    assert first(view, "seeds", Lanes)
    assert "ppo" in {panel.id for panel, _ in view.absent()}


def test_a_gap_hatches_the_lanes(write_record):
    context = {"env_id": 0, "device": "cpu", "inner_epoch": 1, "global_epoch": 1}
    grown = seed_pb2.SeedStageChanged(slot_id="mid", seed_id="s", to_stage="SEED_STAGE_TRAINING")
    after = seed_pb2.SeedStageChanged(slot_id="mid", seed_id="s", to_stage="SEED_STAGE_BLENDING")
    view = view_of(write_record([(grown, context)], [(after, {**context, "inner_epoch": 4})], shed=6))
    lanes = first(view, "seeds", Lanes)
    assert lanes.gaps[0].missing == 6
    assert lanes.gaps[0].start is not None
    assert lanes.gaps[0].end is not None


def test_a_cut_record_is_told_in_the_truth_strip(write_record, scalars):
    path = write_record(scalars(50), scalars(50), close=False)
    path.write_bytes(path.read_bytes()[:-40])
    view = view_of(path)
    items = dict(view.panel_figures("truth").figures[0].items)
    assert items["reader"].tone.value == "warning"
    assert items["events"].value == 50
    assert items["state"].value == "no end recorded"


def test_a_strangers_event_is_drawn_by_its_own_schema(write_record):
    view = view_of(write_record([(training_pb2.PpoUpdateCompleted(lr=1.0), {"batch_idx": 1})]))
    assert isinstance(view.fold("custom"), CustomEvents)
    assert not view.panel_figures("custom").figures


def test_a_rollback_and_a_missing_counterfactual_keep_their_reasons(write_record):
    context = {"env_id": 3, "device": "cpu", "global_epoch": 2, "inner_epoch": 4}
    path = write_record(
        [
            (trainer_pb2.GovernorRolledBack(reason="PANIC_REASON_LOBOTOMY", loss=math.inf), context),
            (
                trainer_pb2.CounterfactualComputed(slot_id="mid", available=False, reason="UNAVAILABLE_REASON_NO_SEED"),
                context,
            ),
        ]
    )
    view = view_of(path)
    (row,) = first(view, "governor", Table).rows
    assert [cell.text for cell in row[1:6]] == ["rollback", "3", "2", "lobotomy", "∞"]
    table = first(view, "contributions", Table)
    assert table.columns[-1].name == "no seed"
    assert table.rows[0][-1].value == 1
    assert table.rows[0][2].state is CellState.UNAVAILABLE


def test_hostile_texts_are_values_like_any_other(record_run):
    def fill(run):
        run.emit(events.ScalarLogged, name=HOSTILE, value=1.0, step=1)
        run.log({HOSTILE: 2.0}, step=2)
        run.emit(events.TextLogged, name=HOSTILE, text=HOSTILE)

    view = view_of(record_run(fill))
    titles = [figure.title for figure in view.panel_figures("scalars").figures]
    assert titles == [HOSTILE]
    text = json.dumps(document([panel.figures for panel in view.figures()]))
    assert "\x1b" not in text
    assert "\x00" not in text


def test_names_without_end_do_not_take_all_memory(write_record):
    frame = [(training_pb2.ScalarLogged(name=f"n{at}", value=1.0, step=at), {}) for at in range(3 * MOST_NAMES)]
    view = view_of(write_record(frame))
    assert len(view.panel_figures("scalars").figures) == MOST_NAMES


def test_the_feed_keeps_the_latest_and_joins_what_repeats(write_record, scalars):
    ended = (rl_pb2.EpisodeCompleted(episode_return=2.5), {"env_id": 1})
    view = view_of(write_record([*scalars(KEPT + 10), ended, ended]))
    (feed,) = view.panel_figures("feed").figures
    assert feed.total == KEPT + 12
    assert [(row.type, row.repeats) for row in feed.rows] == [("scalar.logged", KEPT - 2), ("episode.completed", 2)]
    fold = view.fold("feed")
    assert isinstance(fold, EventFeed)
    assert [event.seq for event in fold.between(100, 200, frozenset({"scalar.logged"}))] == list(range(100, 201))
    row = feed_row(fold.between(KEPT + 11, KEPT + 11)[0])
    assert [tuple(field) for field in row.fields] == [("episode_return", "2.500", "1")]
    assert [field.name for field in row.context] == ["env_id"]


@pytest.mark.parametrize("count", [1, 2, 1000, 20_000])
def test_quartiles_are_those_of_all_values_or_of_an_even_sample(count):
    sample = Sample()
    for at in range(count):
        sample.add(float(at))
    low, middle, high = sample.quantiles(0.25, 0.5, 0.75)
    assert middle == pytest.approx((count - 1) / 2, abs=count / 1000 if count > 4096 else 1e-9)
    assert low <= middle <= high
    assert sample.count == count


def test_places_grow_with_the_epochs_seen():
    places = Places()
    places.see(4)
    places.see(2)
    assert places.epochs == 4
