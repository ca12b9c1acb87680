"""Answers about the runs below a folder as plain values: lists, summaries, panels, events, schema, SQL.

An answer is bounded, because it goes into the context of a model: whatever is left out is counted in it. A value that
was not measured is null and carries its state; it is never 0. Paths come from the listing of the folder only.
"""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import islice
from typing import TYPE_CHECKING, Any

from esper_telemetry.decode import read, record_files, record_reference
from esper_telemetry.errors import RecordError
from esper_telemetry.report import gather
from esper_telemetry.ui.listing import FolderListing
from esper_telemetry.views import Alerts, Look, document

if TYPE_CHECKING:
    from pathlib import Path

    from esper_telemetry.decode import Event
    from esper_telemetry.report import GatheredRun
    from esper_telemetry.ui.listing import RunFacts

MOST_RUNS = 200
MOST_EVENTS = 500
MOST_ROWS = 1000
MOST_POINTS = 2000

_NANOS = 1e9
_VERDICT = "verdict"


class RunReader:
    """Reads the runs below a folder. Any thread may call it; the panels of one run are kept for the next question.

    Args:
        root: a folder with runs, one run folder, or one file.

    Raises:
        NotARecordError: there is no such path.
    """

    def __init__(self, root: Path) -> None:
        self._listing = FolderListing(root)
        self._lock = threading.Lock()
        self._kept: tuple[object, GatheredRun] | None = None

    def list_runs(self, search: str = "", limit: int = 50) -> dict[str, Any]:
        """List the runs, newest first, with outcome, results, tags and losses. Call this first.

        Args:
            search: only runs whose id, name, tags or settings contain this text, without regard to case.
            limit: most runs to return; `more` counts the others.
        """
        wanted = search.casefold()
        found = [facts for facts in self._listing.runs() if not wanted or wanted in _searched(facts)]
        limit = min(max(limit, 1), MOST_RUNS)
        return {
            "place": self._listing.place,
            "runs": [_facts_document(facts) for facts in found[:limit]],
            "more": max(0, len(found) - limit),
        }

    def run_summary(self, run: str) -> dict[str, Any]:
        """Return what a run is, whether its record is complete, the verdict of the rules, and its panels.

        Args:
            run: its key, id or name, as list_runs gives them.
        """
        facts = self._find(run)
        gathered = self._gathered(facts)
        view = gathered.view
        look = Look(view.facts)
        verdict = view.fold(_VERDICT)
        findings = verdict.findings(look) if isinstance(verdict, Alerts) else []
        absent = {panel.id: reason for panel, reason in view.absent()}
        return {
            **_facts_document(facts),
            "settings": facts.settings,
            "record": document(view.panel_figures("truth", look).figures),
            "verdict": document(view.panel_figures(_VERDICT, look).figures[0]),
            "findings": [
                {
                    "rule": one.rule.name,
                    "severity": one.rule.severity.value,
                    "where": one.place,
                    "value": one.value,
                    "threshold": one.rule.limit,
                    "state": one.state.value,
                    "times": one.times,
                    "seq": one.seq,
                    "meaning": one.rule.text,
                }
                for one in findings
            ],
            "panels": [
                {
                    "id": panel.id,
                    "title": panel.title,
                    "hint": panel.hint,
                    "absent": absent.get(panel.id, ""),
                    "figures": [figure.title for figure in view.panel_figures(panel.id, look).figures],
                }
                for panel in view.panels
            ],
            "warnings": list(gathered.warnings),
        }

    def run_panel(self, run: str, panel: str, points: int = 60, rows: int = 24) -> dict[str, Any]:
        """Return the figures of one panel, as in the report: lines, tables, lanes, with units and explanations.

        A point is [x, y, sequence number, joined]; joined is false where a line must not be drawn to it, because
        events are missing or were not measured in between. A line with `each` above 1 shows extremes of so many.

        Args:
            run: its key, id or name.
            panel: id of the panel, as run_summary lists them.
            points: about how many points of each line.
            rows: how many rows of a table, feed, grid or set of lanes.
        """
        view = self._gathered(self._find(run)).view
        look = Look(view.facts, points=min(max(points, 8), MOST_POINTS), rows=min(max(rows, 1), MOST_ROWS))
        try:
            shown = view.panel_figures(panel, look)
        except KeyError as error:
            raise RecordError(str(error.args[0])) from None
        return {
            "panel": panel,
            "title": shown.panel.title,
            "hint": shown.panel.hint,
            "absent": shown.absence,
            "reads": {name: list(fields) for name, fields in shown.panel.reads.items()},
            "figures": document(shown.figures),
            "from": document(shown.footer),
        }

    def run_events(
        self, run: str, types: list[str] | None = None, first_seq: int = 1, limit: int = 50, rank: int | None = None
    ) -> dict[str, Any]:
        """Return events in the order of the record, with all their fields.

        Args:
            run: its key, id or name.
            types: short names or patterns such as "seed.*"; null for all.
            first_seq: the smallest sequence number; ask on with the `next_seq` of the answer before.
            limit: most events to return; `more` tells whether there are others.
            rank: only this rank. Numbers count within one stream, so `next_seq` is null where several were read.
        """
        limit = min(max(limit, 1), MOST_EVENTS)
        ranks = None if rank is None else [rank]
        records = read(self._find(run).place, types=types or None, ranks=ranks, first_seq=first_seq, strict=False)
        found = list(islice(records, limit + 1))
        more, streams = len(found) > limit, {event.producer_id for event in found}
        return {
            "events": [_event_document(event) for event in found[:limit]],
            "more": more,
            "next_seq": found[limit].seq if more and len(streams) == 1 else None,
        }

    def run_schema(self, run: str, types: str = "") -> dict[str, Any]:
        """Return what the events of a run mean, from the descriptors inside the record.

        Args:
            run: its key, id or name.
            types: "" lists all types with their comments; a name or a pattern such as "seed.*" gives their fields
                with units, ranges and comments.
        """
        reference = record_reference(self._find(run).place)
        if not types:
            return {
                "types": {
                    name: {"level": event.level, "comment": event.message.comment}
                    for name, event in reference.events.items()
                }
            }
        chosen = {name: event for name, event in reference.events.items() if fnmatchcase(name, types)}
        if not chosen:
            raise RecordError(f"no type of this record matches {types!r}; ask without types for the list")
        return {
            "types": {name: dataclasses.asdict(event) for name, event in chosen.items()},
            "enums": {name: dataclasses.asdict(enum) for name, enum in reference.enums.items()},
        }

    def query_runs(self, sql: str, runs: list[str], limit: int = 200) -> dict[str, Any]:
        """Ask in SQL (DuckDB), read-only: there is a view for each event type, e.g. "seed.culled", and `runs`.

        Args:
            sql: one statement that selects. Without it (""), the views and their columns are returned.
            runs: keys, ids or names.
            limit: most rows to return; `rows_in_all` counts all.

        Raises:
            MissingExtraError: the extra `query` is not installed.
            QueryError: the statement is wrong, or would do more than read.
        """
        from esper_telemetry.tables import Views
        from esper_telemetry.tables.plainrows import plain_rows

        views = Views([self._find(run).place for run in runs], strict=False)
        try:
            answer = views.answer(sql) if sql.strip() else views.explained()
        finally:
            views.close()
        limit = min(max(limit, 1), MOST_ROWS)
        return {
            "columns": answer.column_names,
            "rows": [list(row) for row in plain_rows(answer.slice(0, limit))],
            "rows_in_all": answer.num_rows,
        }

    def _find(self, run: str) -> RunFacts:
        """Return the run of a key, an id or a name.

        Raises:
            RecordError: there is none, or several have this name, or it cannot be read.
        """
        runs = self._listing.runs()
        found = [facts for facts in runs if run in (facts.key, facts.run_id)]
        found = found or [facts for facts in runs if facts.name == run]
        if len(found) != 1:
            why = f"{len(found)} runs are called {run!r}; use a key" if found else f"there is no run {run!r}"
            raise RecordError(f"{why}; list_runs gives the keys", path=self._listing.place)
        if found[0].problem:
            raise RecordError(found[0].problem)
        return found[0]

    def _gathered(self, facts: RunFacts) -> GatheredRun:
        files = record_files(facts.place)
        signature = [(path, state.st_size, state.st_mtime_ns) for path in files.files for state in (path.stat(),)]
        with self._lock:
            if self._kept is None or self._kept[0] != signature:
                runs = gather(files)
                self._kept = signature, next((run for run in runs if run.view.facts.run_id == facts.run_id), runs[0])
            return self._kept[1]


def _searched(facts: RunFacts) -> str:
    return f"{facts.key} {facts.run_id} {facts.name} {facts.tags} {facts.settings}".casefold()


def _moment(time_ns: int | None) -> str | None:
    """Return a time as RFC 3339 in UTC, to the millisecond."""
    if time_ns is None:
        return None
    return datetime.fromtimestamp(time_ns / _NANOS, UTC).isoformat(timespec="milliseconds")


def _facts_document(facts: RunFacts) -> dict[str, Any]:
    """Return the facts of a run; what is not known is null."""
    return {
        "key": facts.key,
        "run_id": facts.run_id,
        "name": facts.name,
        "outcome": facts.outcome,
        "started": _moment(facts.started_ns),
        "last_event": _moment(facts.last_ns),
        "events": facts.events,
        "missing_events": facts.missing,
        "attempts": facts.attempts,
        "streams": facts.streams,
        "tags": facts.tags,
        "results": document(facts.results),
        "problem": facts.problem,
    }


def _event_document(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "type": event.type,
        "time": _moment(event.time_unix_nano),
        "rank": event.rank,
        "attempt": event.attempt,
        "data": document(dict(event.data)),
    }
