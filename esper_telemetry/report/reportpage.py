"""The report as one HTML file: it loads nothing, runs only its own script (by hash), and is complete without it.

The size is bounded: every figure has a bound of its own, and of the events behind clicks as many are held as fit.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esper_telemetry.report import markup
from esper_telemetry.report.chartframe import by_axis
from esper_telemetry.report.drawheat import draw_heat, draw_histogram, heat_legend
from esper_telemetry.report.drawlanes import draw_lanes, is_dense, lanes_legend
from esper_telemetry.report.drawseries import draw_series, series_data, series_legend
from esper_telemetry.report.drawstack import draw_stack, stack_legend
from esper_telemetry.report.escaping import Markup, element, json_text, visible
from esper_telemetry.views import Look, RunComparison
from esper_telemetry.views.cell import unit_text
from esper_telemetry.views.feed import feed_row
from esper_telemetry.views.figure import Feed, Grid, Heat, Histogram, Lanes, Series, Stack, Strip, Table
from esper_telemetry.views.runcomparison import ComparedRun, is_control, results_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from esper_telemetry.report.gathering import GatheredRun
    from esper_telemetry.views import Figure, PanelFigures

GENERATOR = "esper-telemetry report"
"""What the head of every report names as its generator."""

_FOLDER = Path(__file__).parent
MOST_BYTES = 2_900_000
"""What a report may take: 3 MB are sent by mail and opened at once."""

_EVENT_BYTES = 700_000
"""Bytes of events behind clicks: a quarter of what a report may take."""

_POINTS = 400
_FEED_ROWS = 250
_COLUMNS = 9
_SHORT = 100


@dataclass(frozen=True, slots=True)
class ReportText:
    """A report.

    Attributes:
        html: the file.
        verdict: what it concludes of each run, one line each.
    """

    html: str
    verdict: tuple[str, ...]


def report_page(runs: Sequence[GatheredRun]) -> ReportText:
    """Return the report of one or more runs, with fewer points of each line where it would be too large.

    Args:
        runs: what was gathered, in the order in which it is shown.
    """
    for share in (1.0, 0.5, 0.2):
        made = _report(runs, share)
        if len(made.html) <= MOST_BYTES:
            break
    return made


def _report(runs: Sequence[GatheredRun], share: float) -> ReportText:
    named = RunComparison([run.view for run in runs])
    labels = {id(one.view): one.label for one in named.runs}
    several = len(runs) > 1
    title = " and ".join(labels[id(run.view)] for run in runs) if len(runs) < 3 else f"{len(runs)} runs"  # noqa: PLR2004
    body: list[Markup] = [_head(title, runs)]
    verdicts = []
    if several:
        body.append(_comparison(named, int(share * (300 if len(runs) < 4 else 120))))  # noqa: PLR2004 - room is short
    for at, run in enumerate(runs, 1):
        section, verdict = _run_section(run, at, labels[id(run.view)], share / len(runs) ** 0.5, several=several)
        body.append(section)
        verdicts.append(f"{labels[id(run.view)]}: {verdict}")
    return ReportText(_document(title, body, runs, int(share * _EVENT_BYTES)), tuple(verdicts))


def figure_markup(figure: Figure, *, wide: bool = False) -> Markup:
    """Return one figure as a `figure` element.

    Args:
        figure: what to draw.
        wide: it takes the whole width, where it could share it.
    """
    if isinstance(figure, Series):
        latest = figure.latest.text if figure.latest is not None else ""
        head = _caption(figure.title, latest, f"{unit_text(figure.y.unit)} {by_axis(figure.x)}")
        data = element("script", {"type": "application/json"}, series_data(figure))
        parts = [head, series_legend(figure), draw_series(figure), data, markup.note(figure.explanation)]
        return element("figure", {"class": "full" if wide else None, "data-series": True}, *parts)
    return element("figure", {"class": "full"}, *_full(figure))


def _full(figure: Figure) -> Iterable[Markup]:
    """Return the parts of a figure that takes the whole width."""
    if isinstance(figure, Grid):
        yield markup.grid(figure)
    elif isinstance(figure, Feed):
        yield markup.feed(figure)
    elif isinstance(figure, Strip):
        yield markup.strip(figure)
    elif isinstance(figure, Table):
        yield from (_caption(figure.title), markup.table(figure))
    else:
        yield _caption(figure.title, "", by_axis(figure.x))
        yield from _drawn(figure)
        yield markup.note(figure.explanation + (_lanes_note(figure) if isinstance(figure, Lanes) else ""))


def _lanes_note(lanes: Lanes) -> str:
    text = f" {lanes.hidden:,} more lanes are not drawn." if lanes.hidden else ""
    if is_dense(lanes):
        text += (
            " There are too many stays to point at each: short ones are joined, and marks that cover others left out."
        )
    return text


def _drawn(figure: Stack | Lanes | Heat | Histogram | Series) -> tuple[Markup, ...]:
    if isinstance(figure, Stack):
        return stack_legend(figure), draw_stack(figure)
    if isinstance(figure, Lanes):
        return lanes_legend(figure), draw_lanes(figure)
    if isinstance(figure, Heat):
        return heat_legend(figure), draw_heat(figure)
    if isinstance(figure, Histogram):
        return (draw_histogram(figure),)
    return series_legend(figure), draw_series(figure)


def panel_markup(shown: PanelFigures, prefix: str = "", heading: str = "h2") -> Markup:
    """Return a panel with its heading, its figures and where their numbers come from.

    Args:
        shown: the panel.
        prefix: begins its id, where a page has several runs.
        heading: level of its heading: one below the heading above it.
    """
    panel = shown.panel
    named = f"{prefix}{panel.id}-title"
    if heading != "h2":  # the name of its run tells it from the same panel of another run
        named = f"{prefix}name {named}"
    figures = [figure_markup(figure) for figure in shown.figures]
    absence = element("p", {"class": "absent"}, shown.absence) if shown.absence and not figures else ""
    return element(
        "section",
        {"class": "panel", "id": f"{prefix}{panel.id}", "aria-labelledby": named},
        element(heading, {"id": f"{prefix}{panel.id}-title"}, panel.title),
        element("p", {"class": "hint"}, panel.hint),
        absence,
        element("div", {"class": "figures"}, *figures),
        element("p", {"class": "foot"}, markup.footer_text(shown.footer)),
    )


def styles() -> str:
    """Return the style sheet."""
    return (_FOLDER / "report.css").read_text(encoding="utf-8")


def patterns() -> Markup:
    """Return the hatchings that figures refer to; they are drawn once a page."""

    def pattern(name: str, line: str, opacity: str) -> Markup:
        box = {"id": name, "width": 6, "height": 6, "patternUnits": "userSpaceOnUse", "patternTransform": "rotate(45)"}
        stroke = {"x1": 0, "x2": 0, "y1": 0, "y2": 6, "stroke": line, "stroke-width": 2, "stroke-opacity": opacity}
        return element("pattern", box, element("line", stroke))

    shapes = [
        pattern("hatch", "#888888", "0.55"),
        pattern("failed", "#ffffff", "0.75"),
        pattern("empty", "#888888", "0.18"),
    ]
    return element("svg", {"width": 0, "height": 0, "aria-hidden": "true"}, element("defs", {}, *shapes))


def _caption(title: str, latest: str = "", more: str = "") -> Markup:
    soft = element("span", {"class": "unit"}, f" {more.strip()}") if more.strip() else ""
    right = element("span", {"class": "latest"}, latest) if latest else ""
    return element("figcaption", {}, element("span", {"class": "title"}, title, soft), right)


def _head(title: str, runs: Sequence[GatheredRun]) -> Markup:
    first = runs[0].view.facts
    told = f"{first.run_id} · from {markup.clock(first.started_ns, date=True)} UTC" if len(runs) == 1 else ""
    links = []
    for at, run in enumerate(runs, 1):
        shown = [kept.panel for kept in run.view.figures(Look(run.view.facts, points=1, rows=1)) if kept.figures]
        if len(runs) == 1:
            links += [element("a", {"href": f"#r{at}-{panel.id}"}, panel.title) for panel in shown]
        else:
            links.append(element("a", {"href": f"#r{at}"}, f"{at}. {run.view.facts.name or run.view.facts.run_id}"))
    return element(
        "header",
        {},
        element("h1", {}, title),
        element("p", {"class": "id"}, told),
        element("nav", {"aria-label": "Panels"}, *links),
    )


def _comparison(comparison: RunComparison, points: int) -> Markup:
    figures = [figure_markup(figure) for figure in comparison.figures(points)]
    return element(
        "section",
        {"class": "panel", "id": "comparison", "aria-labelledby": "comparison-title"},
        element("h2", {"id": "comparison-title"}, "Comparison"),
        element(
            "p",
            {"class": "hint"},
            "What differs between the runs, and which results have a control beside them (dashed).",
        ),
        element("div", {"class": "figures"}, *figures),
    )


def _run_section(run: GatheredRun, at: int, label: str, share: float, *, several: bool) -> tuple[Markup, str]:
    """Return the panels of a run and its verdict; `share` of the room of a report is theirs."""
    view, prefix = run.view, f"r{at}-"
    heading = "h3" if several else "h2"
    look = Look(view.facts, points=max(40, int(_POINTS * share)), rows=96)
    parts: list[Markup] = []
    verdict = ""
    feed_look = Look(view.facts, rows=int(_FEED_ROWS * share))
    for panel in view.figures(look):
        shown = view.panel_figures("feed", feed_look) if panel.panel.id == "feed" else panel
        if shown.panel.id == "verdict" and isinstance(shown.figures[0], Strip):
            verdict = shown.figures[0].text
        if shown.figures or shown.absence:
            parts.append(panel_markup(shown, prefix, heading))
        if shown.panel.id == "verdict" and not several:
            results = results_table([ComparedRun(label, view, is_control(view.facts))])
            parts.append(_results(results, run) if results else Markup(""))
    head = (
        element("h2", {"id": f"{prefix}name"}, f"{at}. {label} ", element("small", {"class": "id"}, view.facts.run_id))
        if several
        else ""
    )
    return element("div", {"class": "run", "id": f"r{at}"}, head, *parts), verdict


def _results(table: Table, run: GatheredRun) -> Markup:
    config = run.view.facts.config
    settings = ", ".join(f"{name} {_setting(value)}" for name, value in list(config.items())[:40])
    return element(
        "section",
        {"class": "panel", "id": "results"},
        element("h2", {}, "Results"),
        element("p", {"class": "hint"}, "What the program itself reported at its end."),
        element("div", {"class": "figures"}, figure_markup(table)),
        markup.note(f"Settings: {settings}." if settings else "No configuration is recorded."),
    )


def _setting(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHORT else text[:_SHORT] + "…"


def _document(title: str, body: Iterable[Markup], runs: Sequence[GatheredRun], event_bytes: int) -> str:
    script = (_FOLDER / "report.js").read_text(encoding="utf-8")
    style = styles()
    sources = f"script-src '{_hash(script)}'; style-src '{_hash(style)}'"
    policy = f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"
    meanings = {}
    for run in runs:
        meanings.update(run.meanings)
    head = [
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "referrer", "content": "no-referrer"}),
        element("meta", {"name": "generator", "content": GENERATOR}),
        element("title", {}, f"{title} · training record"),
        element("style", {}, Markup(style)),
    ]
    tail = [
        element("div", {"id": "tip", "role": "status"}),
        element("dialog", {"id": "event", "aria-label": "Events"}),
        element("script", {"type": "application/json", "id": "events"}, json_text(_events(runs, event_bytes))),
        element("script", {"type": "application/json", "id": "meanings"}, json_text(_plain(meanings))),
        element("script", {}, Markup(script)),
    ]
    inner = [patterns(), element("main", {}, *body), *tail]
    page = element("html", {"lang": "en"}, element("head", {}, *head), element("body", {}, *inner))
    return f"<!doctype html>\n{page}\n"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _plain(meanings: dict[str, tuple[str, dict[str, str]]]) -> dict[str, list[object]]:
    return {
        visible(name): [visible(comment), {visible(field): visible(text) for field, text in comments.items()}]
        for name, (comment, comments) in meanings.items()
    }


def _events(runs: Sequence[GatheredRun], left: int) -> list[list[object]]:
    """Return events for the click on a point, the latest of each type; as many as fit into their share of the file."""
    found: list[list[object]] = []
    queues = [(f"r{at}", list(kept)) for at, run in enumerate(runs, 1) for kept in run.kept.values()]
    while queues and left > 0:
        for run_at, queue in queues:
            if queue and left > 0:
                row = feed_row(queue.pop())
                fields = [[visible(one.name), visible(one.text)] for one in (*row.fields, *row.context)]
                entry = [row.seq, markup.clock(row.time_ns, date=True), visible(row.type), row.stream, fields, run_at]
                left -= len(str(entry))
                found.append(entry)
        queues = [(run_at, queue) for run_at, queue in queues if queue]
    return found
