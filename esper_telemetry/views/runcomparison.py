"""Several runs beside each other: their ends, what they were set to, their results against a control, lines overlaid.

A control is a run that the program itself marks: by the tag control=true, or by a policy that does nothing
("wait"). Without one, every difference is shown as unavailable: a result without its control is no claim.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from esper_telemetry.views.cell import Cell, Tone, measured, not_yet, unavailable
from esper_telemetry.views.figure import Series, Table, TableColumn
from esper_telemetry.views.panel import Look, ViewFacts
from esper_telemetry.views.truth import state_cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.views.figure import Figure, Line
    from esper_telemetry.views.runview import RunView

OVERLAID = ("learning", "ppo", "offpolicy", "returns", "scalars", "throughput")
"""Panels whose series are overlaid, in this order."""

MOST_LINES = 24
_NANOS = 1e9
_SETTINGS = 40
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One run of a comparison.

    Attributes:
        label: short name that tells it apart.
        view: its panels.
        control: it is a control of the others.
    """

    label: str
    view: RunView
    control: bool


class RunComparison:
    """Several runs.

    Args:
        views: at least one; each has been fed, or is being fed.
    """

    def __init__(self, views: Sequence[RunView]) -> None:
        self._views = list(views)

    @property
    def runs(self) -> list[ComparedRun]:
        """The runs with labels that tell them apart; controls last."""
        names = [view.facts.name or view.facts.run_id or "run" for view in self._views]
        labels = [
            name if names.count(name) == 1 else f"{name} {view.facts.run_id[-6:]}"
            for name, view in zip(names, self._views, strict=True)
        ]
        found = [
            ComparedRun(label, view, is_control(view.facts)) for label, view in zip(labels, self._views, strict=True)
        ]
        return sorted(found, key=lambda run: run.control)

    def figures(self, points: int = 300) -> list[Figure]:
        """Return the tables, then the overlaid series.

        Args:
            points: how many points of a line are worth drawing.
        """
        runs = self.runs
        tables: list[Figure] = [_ends(runs)]
        tables += [table for table in (results_table(runs), _settings(runs)) if table is not None]
        return [*tables, *_overlaid(runs, points)] if len(runs) > 1 else tables


def is_control(facts: ViewFacts) -> bool:
    """Tell whether the program has marked a run as a control."""
    return facts.tags.get("control", "").lower() in ("true", "1", "yes") or facts.config.get("policy") == "wait"


def _ends(runs: Sequence[ComparedRun]) -> Table:
    rows = []
    for run in runs:
        facts = run.view.facts
        seconds = (facts.last_ns - facts.started_ns) / _NANOS if facts.started_ns else None
        missing = facts.numbering.missing
        rows.append(
            (
                measured(run.label),
                measured("control" if run.control else "run"),
                measured(facts.run_id) if facts.run_id else not_yet("no event so far"),
                measured(facts.group) if facts.group else unavailable("the run names no group"),
                state_cell(facts, None),
                measured(seconds, "s", reason="no event so far"),
                measured(sum(facts.counts.values())),
                measured(missing, tone=Tone.BAD if missing else Tone.GOOD),
            )
        )
    columns = (
        TableColumn("name"),
        TableColumn("kind"),
        TableColumn("run id"),
        TableColumn("group"),
        TableColumn("state"),
        TableColumn("duration", "s", "From the first event to the last one", numeric=True),
        TableColumn("events", numeric=True),
        TableColumn("lost", numeric=True),
    )
    return Table("Runs", columns, tuple(rows))


def results_table(runs: Sequence[ComparedRun]) -> Table | None:
    """Return each result of each run with the control's beside it; None where no run has results.

    Args:
        runs: the runs; of several controls with a result their mean is taken.
    """
    names = list(dict.fromkeys(name for run in runs for name in run.view.facts.results))
    if not names:
        return None
    controls = [run for run in runs if run.control]
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        values = [run.view.facts.results[name] for run in controls if name in run.view.facts.results]
        base = math.fsum(values) / len(values) if values else None
        for run in runs:
            if run.control and len(runs) > len(controls):
                continue
            rows.append((measured(name), measured(run.label), *_against(run, name, base)))
    columns = (
        TableColumn("result"),
        TableColumn("run"),
        TableColumn("value", numeric=True),
        TableColumn("control", text="The same result of the control, or the mean of several", numeric=True),
        TableColumn("difference", text="Value less control", numeric=True),
    )
    count = len(controls)
    text = (
        f"{count} control run{'s' if count > 1 else ''}: one pair of runs does not tell a difference from chance."
        if controls
        else "No control is among these runs, so nothing here tells what the method itself adds."
    )
    return Table("Results beside the control", columns, tuple(rows), explanation=text)


def _against(run: ComparedRun, name: str, base: float | None) -> tuple[Cell, Cell, Cell]:
    facts = run.view.facts
    value = facts.results.get(name)
    shown = measured(value) if value is not None else unavailable("this run did not report it")
    if base is None:
        none = unavailable("no control run among these reports it; record one and pass both")
        return shown, none, none
    if run.control:
        return shown, measured(base), unavailable("this run is the control")
    difference = measured(value - base) if value is not None else unavailable("this run did not report it")
    return shown, measured(base), difference


def _settings(runs: Sequence[ComparedRun]) -> Table | None:
    """Return the settings in which the runs differ; of a single run all of them."""
    flat = [dict(_flat(run.view.facts.config)) for run in runs]
    names = list(dict.fromkeys(name for one in flat for name in one))
    if len(runs) > 1:
        names = [name for name in names if len({json.dumps(one.get(name, _ABSENT), default=str) for one in flat}) > 1]
    if not names:
        return None
    rows = [(measured(name), *(_setting(one.get(name, _ABSENT)) for one in flat)) for name in names[:_SETTINGS]]
    columns = (TableColumn("setting"), *(TableColumn(run.label) for run in runs))
    title = "Settings that differ" if len(runs) > 1 else "Settings"
    return Table(title, columns, tuple(rows), hidden=max(0, len(names) - _SETTINGS))


_ABSENT = "\0absent"


def _flat(config: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in config.items():
        if isinstance(value, dict) and value:
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def _setting(value: Any) -> Cell:
    if value == _ABSENT:
        return unavailable("this run has no such setting")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return measured(text[:_LONGEST] + ("…" if len(text) > _LONGEST else ""))


def _overlaid(runs: Sequence[ComparedRun], points: int) -> list[Series]:
    """Return the series that at least two runs have, each run in its own colour and the controls dashed."""
    found: dict[tuple[str, str, str], list[tuple[int, ComparedRun, Series]]] = {}
    for hue, run in enumerate(runs):
        look = Look(run.view.facts, points=points)
        for panel in OVERLAID:
            try:
                shown = run.view.panel_figures(panel, look)
            except KeyError:
                continue
            for figure in shown.figures:
                if isinstance(figure, Series):
                    found.setdefault((panel, figure.title, figure.x.label), []).append((hue, run, figure))
    merged = []
    for parts in found.values():
        lines = [replace(line, **_relabelled(line, hue, run)) for hue, run, part in parts for line in part.lines]
        if len(parts) > 1 and len(lines) <= MOST_LINES:
            gaps = tuple(gap for _, _, part in parts for gap in part.gaps)
            first = parts[0][2]
            merged.append(replace(first, lines=tuple(lines), marks=(), gaps=gaps, latest=None))
    return merged


def _relabelled(line: Line, hue: int, run: ComparedRun) -> dict[str, Any]:
    name = " · ".join(part for part in (run.label, line.name) if part)
    return {"name": name, "hue": hue, "dashed": run.control, "stream": f"{run.label} {line.stream}".strip()}
