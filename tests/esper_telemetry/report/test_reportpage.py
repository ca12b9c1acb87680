"""The whole report: one file that loads nothing, holds the numbers of the folds, and shows each state as what it is."""

from __future__ import annotations

import base64
import hashlib
import math
import re

import pytest

import esper_telemetry
from esper_telemetry import events, read
from esper_telemetry.report import gather, report_page
from esper_telemetry.report.gathering import KEPT_OF_A_TYPE, Watch
from esper_telemetry.v1 import training_pb2
from esper_telemetry.views import Look
from esper_telemetry.views.figure import Series

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e\"'</title>"


def page(parse, *paths):
    runs = gather(paths)
    made = report_page(runs)
    return parse(made.html), made, runs


def fill(run):
    for batch in range(1, 40):
        run.bind(batch_idx=batch).emit(events.PpoUpdateCompleted, kl_divergence=0.001 * batch, entropy=1.0)
        run.log({"train/loss": 1 / batch}, step=batch)
    run.results["accuracy"] = 0.5


def test_it_loads_nothing_and_runs_only_its_own_script(record_run, parse):
    tree, made, _ = page(parse, record_run(fill))
    outer = re.findall(r"""(?:src|href|action|data)=["']([^"'#][^"']*)""", made.html)
    assert outer == []
    assert "http://" not in made.html.replace("http-equiv", "")
    assert "https://" not in made.html
    assert "url(" not in re.sub(r"url\(#\w+\)", "", made.html)
    (policy,) = [m.attributes["content"] for m in tree.all("meta") if m.attributes.get("http-equiv")]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for name in ("script", "style"):
        (inline,) = [node.text for node in tree.all(name) if "type" not in node.attributes]
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert not re.findall(r"<[^>]+\sstyle=", made.html)
    assert not re.findall(r"<[^>]+\son\w+=", made.html)


def test_the_numbers_of_every_series_are_those_of_the_folds(record_run, parse):
    tree, _, (run,) = page(parse, record_run(fill))
    drawn = [figure.all("script")[0].json for figure in tree.all("figure") if "data-series" in figure.attributes]
    look = Look(run.view.facts, points=400, rows=96)
    expected = [f for panel in run.view.figures(look) for f in panel.figures if isinstance(f, Series)]
    assert len(drawn) == len(expected) > 2
    for data, figure in zip(drawn, expected, strict=True):
        for line, known in zip(data["lines"], figure.lines, strict=True):
            assert [point[2] for point in line["points"]] == [point.seq for point in known.points]
            assert [point[1] for point in line["points"]] == pytest.approx([point.y for point in known.points])


def test_hostile_texts_are_text_everywhere(record_run, parse):
    def hostile(run):
        run.emit(events.ScalarLogged, name=HOSTILE, value=1.0, step=1)
        run.emit(events.TextLogged, name=HOSTILE, text=HOSTILE)
        run.results[HOSTILE] = 1.0

    folder = record_run(hostile, name="x", config={HOSTILE: HOSTILE}, tags={HOSTILE: HOSTILE})
    tree, made, _ = page(parse, folder, record_run(fill, folder=folder.parent / "second"))
    for character in made.html:
        assert character.isprintable() or character == "\n", hex(ord(character))
    scripts = [node for node in tree.all("script") if node.attributes.get("type") != "application/json"]
    assert len(scripts) == 1
    assert not tree.all("img")
    assert "<script>alert(1)</script>u{1b}".replace("u{", "\\u{") in tree.text


def test_each_state_of_a_value_is_shown_as_what_it_is(write_record, parse):
    frame = [
        (
            training_pb2.EpochCompleted(val_loss=math.nan, val_accuracy=0.0),
            {"env_id": 0, "inner_epoch": 1, "global_epoch": 1},
        ),
        (training_pb2.EpochCompleted(val_loss=1.0), {"env_id": 0, "inner_epoch": 2, "global_epoch": 1}),
    ]
    tree, _, _ = page(parse, write_record(frame, frame, shed=5))
    tile = tree.one("div", class_="tile")
    shown = dict(zip([dt.text for dt in tile.all("dt")], [dd.text for dd in tile.all("dd")], strict=True))
    assert shown["accuracy"] == "—"
    assert shown["return"] == "—"
    reasons = [abbr.attributes["title"] for abbr in tile.all("abbr")]
    assert any(reason.startswith("unavailable:") for reason in reasons)
    assert any(reason.startswith("not yet:") for reason in reasons)
    assert "NaN" in [text.text for text in tree.all("text", class_="odd")]
    assert tree.all("rect", class_="gap")
    assert "lost" in tree.text
    assert "■ 5" in tree.text


def test_a_level_that_leaves_panels_out_is_named(record_run, parse):
    tree, _, _ = page(parse, record_run(lambda run: None, level="minimal"))
    rows = [[cell.text for cell in row.all("td")] for row in tree.one("section", id="r1-health").all("tr")]
    assert ["Policy updates", "not recorded at level minimal: its events need level normal"] in rows


def test_several_runs_are_compared_and_keep_their_own_panels(record_run, parse, tmp_path):
    first = record_run(fill, name="one", config={"policy": "wait"})
    second = record_run(fill, name="two", folder=tmp_path / "second", config={"policy": "ppo"})
    tree, made, runs = page(parse, first, second)
    assert len(runs) == 2
    comparison = next(node for node in tree.all("section") if node.attributes.get("id") == "comparison")
    assert "Results beside the control" in comparison.text
    assert len(comparison.all("path", class_="dashed")) >= 1
    assert [node.attributes["id"] for node in tree.all("div", class_="run")] == ["r1", "r2"]
    assert [text.split(":")[0] for text in made.verdict] == ["one", "two"]


def test_events_behind_a_click_are_the_latest_of_each_type(record_run, parse):
    tree, _, (run,) = page(parse, record_run(lambda run: [run.log({"a": at}, step=at) for at in range(400)]))
    held = next(node for node in tree.all("script") if node.attributes.get("id") == "events").json
    logged = sorted(event[0] for event in held if event[2] == "scalars.logged")
    assert logged == list(range(402 - KEPT_OF_A_TYPE, 402))
    assert len(list(run.events())) == len(held)
    meanings = next(node for node in tree.all("script") if node.attributes.get("id") == "meanings").json
    assert meanings["scalars.logged"][0].startswith("Values logged in one call")


def test_a_damaged_record_is_reported_with_its_faults(write_record, scalars, parse):
    path = write_record(scalars(20), scalars(20), close=False)
    path.write_bytes(path.read_bytes()[:-30])
    tree, _, (run,) = page(parse, path)
    assert run.warnings
    assert "no end recorded" in tree.text


def test_two_attempts_at_a_run_are_one_run_with_two_streams(tmp_path, parse):
    again = {"resume": "r", "resumed_from": {"batch_idx": 2}}
    for attempt, options in ((1, {"run_id": "r"}), (2, again)):
        with esper_telemetry.start_run(tmp_path, name="r", **options) as run:
            for batch in range(attempt, attempt + 3):
                run.bind(batch_idx=batch).emit(events.PpoUpdateCompleted, entropy=float(attempt))
    tree, _, runs = page(parse, tmp_path / "r")
    assert len(runs) == 1
    names = {key.text.strip() for key in tree.all("span", class_="key")}
    assert {"attempt 1", "attempt 2"} <= names


def test_reading_can_be_watched(record_run):
    class Counting(Watch):
        seen = 0

        def events(self, records):
            for event in records:
                Counting.seen += 1
                yield event

    folder = record_run(fill)
    gather([folder], watch=Counting())
    assert Counting.seen == sum(1 for _ in read(folder))


def test_a_report_of_many_events_stays_small(record_run):
    def many(run):
        for at in range(20_000):
            run.log({"a/loss": math.sin(at), "b/loss": at % 7}, step=at)

    made = report_page(gather([record_run(many)]))
    assert len(made.html.encode()) < 1_000_000
