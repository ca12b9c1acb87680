"""The answers of a page, asked of a real server."""

from __future__ import annotations

import csv
import io

import pytest

import esper_telemetry
from esper_telemetry.decode import read
from tests.esper_telemetry.conftest import SCHEMAS, emit_variety
from tests.esper_telemetry.ui.pageprocess import ChangeReader, PageProcess


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with one run."""
    folder = tmp_path_factory.mktemp("page") / "runs"
    with esper_telemetry.start_run(folder, name="whole", tags={"kind": "demo"}, schemas=SCHEMAS) as run:
        emit_variety(run)
    return folder


@pytest.fixture(scope="module")
def page(runs):
    """One page for all that only ask it."""
    process = PageProcess(runs)
    yield process
    process.stop()


@pytest.fixture(scope="module")
def key(page):
    return page.get("/api/runs").json()["runs"][0]["key"]


def test_the_page_and_every_file_that_it_names_are_served(page):
    answer = page.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for path in ("/static/main.js", "/static/page.css", "/charts/bokeh.min.js", "/static/mark.svg"):
        assert page.get(path).status_code == 200


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/etc/passwd", "/charts/bokeh.js", "/nothing"]
)
def test_no_other_file_is_served(page, path):
    answer = page.get(path)
    assert answer.status_code == 404
    assert "error" in answer.json()


def test_runs_are_listed_with_their_facts(page):
    (run,) = page.get("/api/runs").json()["runs"]
    assert (run["name"], run["outcome"], run["tags"], run["missing"]) == ("whole", "completed", {"kind": "demo"}, 0)


def test_the_events_behind_a_number_are_those_of_the_record(page, key, runs):
    (event,) = [event for event in read(next(runs.iterdir())) if event.type == "seed.culled"]
    found = page.get(f"/api/runs/{key}/events?type=seed.*&first={event.seq}&last={event.seq}").json()["events"]
    assert [(one["seq"], one["type"], one["data"]["seed_id"]) for one in found] == [(event.seq, "seed.culled", "s-1")]
    assert [one["type"] for one in page.get(f"/api/runs/{key}/events?text=conv_light").json()["events"]] == [
        "seed.germinated"
    ]


def test_recent_events_are_given_after_a_number(page, key):
    ChangeReader().read(page.address.rstrip("/"), key, lambda one: one.state["phase"] == "ended")
    first = page.get(f"/api/runs/{key}/recent?limit=3").json()
    assert len(first["events"]) == 3
    assert page.get(f"/api/runs/{key}/recent?after={first['upto']}").json() == {
        "events": [],
        "upto": first["upto"],
        "left": 0,
    }


def test_a_panel_is_downloaded_as_csv_and_json(page, key):
    ChangeReader().read(page.address.rstrip("/"), key, lambda one: one.state["phase"] == "ended")
    answer = page.get(f"/api/runs/{key}/panels/ppo/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="ppo.csv"'
    assert [row["value"] for row in csv.DictReader(io.StringIO(answer.text)) if row["title"] == "learning rate"] == [
        "0.0003"
    ]
    assert page.get(f"/api/runs/{key}/panels/ppo/json").json()["id"] == "ppo"


def test_what_the_types_mean_is_told(page, key):
    assert page.get(f"/api/runs/{key}/schema").json()["events"]["seed.culled"]["comment"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/runs/nothing/recent", 404),
        ("/api/runs/{key}/panels/nothing", 404),
        ("/api/runs/{key}/panels/ppo/exe", 400),
        ("/api/runs/{key}/panels/ppo?points=many", 400),
        ("/api/runs/{key}/events?first=x", 400),
        ("/api/stream", 400),
        ("/api/stream?run=nothing", 404),
        ("/api/stream?" + "&".join(f"run={n}" for n in range(9)), 400),
    ],
)
def test_a_wrong_question_is_answered_with_what_is_wrong(page, key, path, status):
    answer = page.get(path.format(key=key))
    assert (answer.status_code, bool(answer.json()["error"])) == (status, True)


def test_a_replay_runs_at_its_speed_can_be_paused_and_ends_like_the_run(runs, open_page):
    import httpx

    page = open_page(runs)
    key = page.get("/api/runs").json()["runs"][0]["key"]
    base = page.address.rstrip("/")
    replay = httpx.post(f"{base}/api/runs/{key}/replay", json={"speed": 1000}).json()["key"]
    assert httpx.post(f"{base}/api/runs/{replay}/pace", json={"speed": 1e6, "paused": False}).json()["speed"] == 1e6
    reader = ChangeReader().read(base, replay, lambda one: one.state["phase"] == "ended")
    whole = ChangeReader().read(base, key, lambda one: one.state["phase"] == "ended")
    assert reader.panels["ppo"] == whole.panels["ppo"]
    assert reader.state["life"] == "ended"
    for body in ({"speed": 0}, {"speed": "fast"}, [1], None):
        answer = httpx.post(f"{base}/api/runs/{replay}/pace", json=body)
        assert (answer.status_code, bool(answer.json()["error"])) == (400, True)


def test_a_run_is_seen_while_it_is_written(tmp_path, open_page):
    page = open_page(tmp_path)
    with esper_telemetry.start_run(tmp_path / "runs", name="live") as run:
        run.emit(esper_telemetry.events.ScalarLogged, name="loss", value=1.0, step=1)
        run.flush()
        (facts,) = page.get("/api/runs").json()["runs"]
        assert facts["outcome"] == "running"
        reader = ChangeReader().read(page.address.rstrip("/"), facts["key"], lambda one: one.state["life"] == "live")
        run.emit(esper_telemetry.events.ScalarLogged, name="loss", value=0.5, step=2)
        run.flush()
        reader.read(page.address.rstrip("/"), facts["key"], lambda one: latest(one) == 0.5)
        assert "snapshot" not in reader.names[1:], "a viewer that comes back with its cursor misses nothing"


def latest(reader) -> float | None:
    figures = reader.panels.get("scalars", {"figures": []})["figures"]
    lines = [line for figure in figures if figure["figure"] == "Series" for line in figure["lines"]]
    return lines[0]["points"][-1][1] if lines else None
