"""A panel as a figure in a notebook: `et.plot(run, "ppo")`.

The HTML is a page of its own in a frame without scripts: its styles touch nothing of the notebook, and nothing in a
record can run there.
"""

from __future__ import annotations

import re
from os import PathLike
from typing import TYPE_CHECKING, Protocol

from esper_telemetry.errors import ConfigError
from esper_telemetry.report.chartframe import WIDE
from esper_telemetry.report.drawheat import draw_heat, draw_histogram
from esper_telemetry.report.drawlanes import draw_lanes
from esper_telemetry.report.drawseries import draw_series
from esper_telemetry.report.drawstack import draw_stack
from esper_telemetry.report.escaping import Markup, element
from esper_telemetry.report.gathering import gather
from esper_telemetry.report.reportpage import panel_markup, patterns, styles
from esper_telemetry.views import PANELS, Look
from esper_telemetry.views.figure import Heat, Histogram, Lanes, Series, Stack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from esper_telemetry.decode.inputs import RecordPath
    from esper_telemetry.views import Figure, Panel, PanelFigures

_ROW = 210
_COLUMNS = 3
_TITLE = 18.0
_GAP = 14.0
_VIEW_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')


class RecordedRun(Protocol):
    """A run of the recorder: its folder is where it records."""

    @property
    def folder(self) -> Path | None:
        """The folder, or None where nothing is recorded."""


class PlottedPanel:
    """A panel of a record as it was when it was plotted.

    A notebook shows it as HTML, an SVG viewer as SVG; `figures` are its numbers.

    Attributes:
        title: what it shows.
        figures: what it shows, as plain values.
        absence: why it shows nothing; "" where it shows something.
    """

    def __init__(self, shown: PanelFigures) -> None:
        self.title = shown.panel.title
        self.figures = shown.figures
        self.absence = shown.absence
        self._shown = shown

    def __repr__(self) -> str:
        told = ", ".join(figure.title for figure in self.figures) or self.absence
        return f"<PlottedPanel {self.title}: {told}>"

    def _repr_html_(self) -> str:
        """Return the panel as a page in a frame."""
        page = element(
            "html",
            {"lang": "en"},
            element("head", {}, element("meta", {"charset": "utf-8"}), element("style", {}, Markup(styles()))),
            element("body", {}, patterns(), panel_markup(self._shown)),
        )
        frame: dict[str, object] = {
            "sandbox": "",
            "srcdoc": str(page),
            "title": self.title,
            "width": "100%",
            "height": self._height(),
            "frameborder": 0,
        }
        return str(element("iframe", frame, ""))

    def _repr_svg_(self) -> str | None:
        """Return its charts below each other as one SVG; None where it has none."""
        charts = [(figure.title, svg) for figure in self.figures if (svg := _drawn(figure))]
        if not charts:
            return None
        parts: list[Markup] = []
        top = 0.0
        widest = 0.0
        for title, svg in charts:
            width, height = (float(one) for one in _VIEW_BOX.findall(svg)[0])
            parts.append(element("text", {"x": 0.0, "y": top + 12, "class": "group"}, title))
            placed = svg.replace("<svg ", f'<svg x="0" y="{top + _TITLE:g}" width="{width:g}" height="{height:g}" ', 1)
            parts.append(Markup(placed))
            top += _TITLE + height + _GAP
            widest = max(widest, width)
        box: dict[str, object] = {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {widest:g} {top:g}",
            "width": f"{widest:g}",
            "height": f"{top:g}",
            "font-family": "system-ui, sans-serif",
        }
        return str(element("svg", box, element("style", {}, Markup(styles())), patterns(), *parts))

    def _height(self) -> int:
        """Return about how high the panel is: small charts are placed three in a row."""
        small = sum(isinstance(figure, Series) for figure in self.figures)
        high = 130 + -(-small // _COLUMNS) * _ROW
        for figure in self.figures:
            if not isinstance(figure, Series):
                lanes = len(figure.lanes) if isinstance(figure, Lanes) else len(getattr(figure, "rows", ())) or 8
                high += 120 + 24 * lanes
        return min(high, 2400)


def _drawn(figure: Figure) -> Markup | None:
    if isinstance(figure, Series):
        return draw_series(figure, WIDE)
    if isinstance(figure, Stack):
        return draw_stack(figure)
    if isinstance(figure, Lanes):
        return draw_lanes(figure)
    if isinstance(figure, Heat):
        return draw_heat(figure)
    return draw_histogram(figure) if isinstance(figure, Histogram) else None


def plot(
    run: RecordPath | RecordedRun, panel: str = "learning", *, points: int = 600, panels: Sequence[Panel] = PANELS
) -> PlottedPanel:
    """Plot a panel of a run, for a notebook.

        et.plot("runs/20261122T223328Z-digits-1f3a9c", "ppo")

    The record is read once, and what was lost or never measured is shown as that. Of a run that is still open, the
    events that have reached the file are shown.

    Args:
        run: a record file, a run folder, or the Run that records it.
        panel: id of the panel, e.g. "learning", "seeds", "actions", "masks", "ppo", "rewards", "scalars", "machine".
        points: how many points of a line are worth drawing.
        panels: which panels there are.

    Raises:
        ConfigError: there is no such panel, the run records nothing, or the path holds several runs.
        RecordError: nothing of it can be read.
    """
    wanted = [one for one in panels if one.id == panel]
    if not wanted:
        known = ", ".join(one.id for one in panels)
        raise ConfigError(f"there is no panel {panel!r}; there are: {known}")
    path = run if isinstance(run, (str, PathLike)) else run.folder
    if path is None:
        raise ConfigError("this run records nothing, so there is nothing to plot; pass a record or a run folder")
    found = gather(path, panels=wanted)
    if len(found) != 1:
        raise ConfigError(
            f"{path} holds {len(found)} runs; pass the folder of one of them, or use esper-telemetry report"
        )
    view = found[0].view
    return PlottedPanel(view.panel_figures(panel, Look(view.facts, points=points)))
