"""Reads records once and feeds them to views; keeps some events of each type whole, for the click on a point."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esper_telemetry.decode import RecordFiles, read, record_files, record_reference, survey
from esper_telemetry.errors import RecordError, TelemetryError
from esper_telemetry.views import PANELS, ReaderFindings, RunView
from esper_telemetry.views.recordhealth import RecordHealth

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from esper_telemetry.decode import Event, Records, Survey
    from esper_telemetry.decode.inputs import RecordPath
    from esper_telemetry.views import Panel

KEPT_OF_A_TYPE = 160
"""Latest events of each type that a report holds whole."""

Meanings = dict[str, tuple[str, dict[str, str]]]


@dataclass(slots=True)
class GatheredRun:
    """One run that was read.

    Attributes:
        view: its panels.
        kept: latest events of each type.
        meanings: by type: its comment, and the comment of each field.
        paths: the files it was read from.
        warnings: what was damaged, missing or not decodable, one sentence each; of the first run also the files that
            were passed over.
    """

    view: RunView
    kept: dict[str, deque[Event]] = field(default_factory=dict)
    meanings: Meanings = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def events(self) -> Iterator[Event]:
        """Yield the events that were kept."""
        for kept in self.kept.values():
            yield from kept


def gather(
    path: RecordPath | Iterable[RecordPath] | RecordFiles,
    *,
    panels: Sequence[Panel] = PANELS,
    latest: bool = False,
    watch: Watch | None = None,
) -> list[GatheredRun]:
    """Read records and return one view for each run in them, in the order of their first events.

    Args:
        path: as for `read`: files, run folders or patterns.
        panels: which panels.
        latest: leave out what a later attempt at a run did again.
        watch: given the records of each run, and returns their events while it shows how far reading is.

    Raises:
        RecordError: nothing of it can be read, or nothing is written yet.
    """
    found = survey(record_files(path))
    if found.notes and not found.places:
        raise RecordError(f"there is nothing to show: {found.notes[0]}; try again in a moment")
    runs = [_gather_run(one, panels, latest=latest, watch=watch) for one in _by_run(found)]
    runs.sort(key=lambda run: run.view.facts.started_ns)
    if runs and found.warnings:  # nobody knows which run those files are of: they are told once
        runs[0].warnings = (*found.warnings, *runs[0].warnings)
    return runs


class Watch:
    """Shows how far reading is; this one shows nothing."""

    def events(self, records: Records) -> Iterable[Event]:
        """Return the events of records."""
        return records


def _by_run(found: Survey) -> list[RecordFiles]:
    """Return the files of each run; a file that holds several runs is read with the first of them."""
    files: dict[str, list[Path]] = {}
    seen: set[Path] = set()
    for place in found.places:
        if place.path not in seen:
            seen.add(place.path)
            files.setdefault(place.header.run_id, []).append(place.path)
    # Of a folder that was given as a whole, a first segment that is not there is missing.
    folders = frozenset(place.path.parent for place in found.places if place.in_folder)
    return [RecordFiles(tuple(paths), folders=folders) for paths in files.values()]


def _gather_run(paths: RecordFiles, panels: Sequence[Panel], *, latest: bool, watch: Watch | None) -> GatheredRun:
    view = RunView(panels)
    run = GatheredRun(view, paths=tuple(map(str, paths)))
    records = read(paths, strict=False, latest=latest)
    view.feed(_keeping((watch or Watch()).events(records), run.kept))
    missing = None if any(place.filtered for place in records.segments) else records.missing
    view.facts.numbering.partial = missing is None
    unknown = [f"{count:,} events of type {name} cannot be decoded" for name, count in records.unknown.items()]
    run.warnings = (*records.warnings, *unknown)
    view.reader_found(ReaderFindings(tuple(records.warnings), missing, dict(records.unknown)))
    _explain(run, paths)
    return run


def _keeping(events: Iterable[Event], kept: dict[str, deque[Event]]) -> Iterator[Event]:
    for event in events:
        mine = kept.get(event.type)
        if mine is None:
            mine = kept[event.type] = deque(maxlen=KEPT_OF_A_TYPE)
        mine.append(event)
        yield event


def _explain(run: GatheredRun, paths: RecordFiles) -> None:
    """Take what the record's own schema tells of its types; a record without one is shown without."""
    try:
        reference = record_reference(paths)
    except TelemetryError:
        return
    for name, event in reference.events.items():
        comments = {one.name: one.comment for one in event.message.fields if one.comment}
        run.meanings[name] = event.message.comment, comments
    for panel in run.view.panels:
        fold = run.view.fold(panel.id)
        if isinstance(fold, RecordHealth):
            fold.declared = frozenset(run.meanings)
