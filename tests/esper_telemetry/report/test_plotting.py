"""A panel in a notebook: a frame without scripts, an SVG of its own, and the numbers behind both."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

import esper_telemetry as et
from esper_telemetry import events
from esper_telemetry.errors import ConfigError
from esper_telemetry.report.plotting import PlottedPanel

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e"


def fill(run):
    for batch in range(1, 9):
        run.bind(batch_idx=batch).emit(events.PpoUpdateCompleted, kl_divergence=0.01 * batch)
    run.emit(events.ScalarLogged, name=HOSTILE, value=1.0, step=1)


def test_a_panel_of_a_record_is_plotted(record_run, parse):
    plotted = et.plot(record_run(fill), "ppo")
    assert isinstance(plotted, PlottedPanel)
    assert [point.y for point in plotted.figures[0].lines[0].points] == pytest.approx([0.01 * at for at in range(1, 9)])
    frame = parse(plotted._repr_html_()).one("iframe")
    assert frame.attributes["sandbox"] == ""
    inner = parse(frame.attributes["srcdoc"])
    assert inner.all("path", class_="line")
    assert repr(plotted) == "<PlottedPanel Policy updates: KL divergence>"


def test_the_svg_stands_alone(record_run):
    root = ET.fromstring(et.plot(record_run(fill), "ppo")._repr_svg_())  # noqa: S314 - our own bytes
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(root.findall("{http://www.w3.org/2000/svg}svg")) == 2  # the chart and the hatchings


def test_a_panel_without_charts_or_without_events_is_still_shown(record_run):
    folder = record_run(fill)
    assert et.plot(folder, "health")._repr_svg_() is None
    absent = et.plot(folder, "seeds")
    assert "no event of seed.germinated" in absent.absence
    assert "no event of seed.germinated" in absent._repr_html_()


def test_hostile_names_are_text(record_run, parse):
    plotted = et.plot(record_run(fill), "scalars")
    inner = parse(parse(plotted._repr_html_()).one("iframe").attributes["srcdoc"])
    assert [node.attributes.get("type") for node in inner.all("script")] == ["application/json"]
    ET.fromstring(plotted._repr_svg_())  # noqa: S314 - our own bytes
    assert "\x1b" not in plotted._repr_html_()
    assert "\u202e" not in plotted._repr_svg_()


def test_an_open_run_is_plotted_as_far_as_it_is_written(tmp_path):
    with et.start_run(tmp_path, name="open") as run:
        fill(run)
        run.flush()
        assert len(et.plot(run, "ppo").figures[0].lines[0].points) == 8


def test_mistakes_are_told(record_run, tmp_path):
    with pytest.raises(ConfigError, match="there is no panel 'pop'; there are: truth"):
        et.plot(record_run(fill), "pop")
    record_run(fill, folder=tmp_path / "runs")
    with pytest.raises(ConfigError, match="holds 2 runs"):
        et.plot(str(tmp_path / "runs" / "*"), "ppo")
