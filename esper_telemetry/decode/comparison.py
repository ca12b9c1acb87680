"""Two records side by side: what was set differently, what came out, and where the events part."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import groupby, zip_longest
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.decode.event_filter import Filter
from esper_telemetry.decode.overview import summarize
from esper_telemetry.decode.records import Records
from esper_telemetry.decode.statistics import count_events, flatten
from esper_telemetry.decode.survey import survey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from esper_telemetry.decode.event import Event
    from esper_telemetry.decode.inputs import RecordFiles
    from esper_telemetry.decode.overview import StreamSummary, Summary
    from esper_telemetry.decode.statistics import FieldStatistics, TypeStatistics
    from esper_telemetry.decode.survey import Survey

# What a run is made of and measures of itself: never the same twice.
_OWN = frozenset({"run_id", "config_json", "config_sha256", "config_bytes", "redacted", "argv"})
_TIMES = frozenset({"s", "ms", "us", "ns", "min", "h"})
RUN_STARTED = "run.started"


class Pair(NamedTuple):
    """A value in both records; None where one has it not."""

    name: str
    left: Any
    right: Any


class FieldPair(NamedTuple):
    """The numbers of a field in both records.

    Attributes:
        type: short name of the event.
        name: the field.
        left: its statistics in the first record; None where it is never set there.
        right: in the second.
    """

    type: str
    name: str
    left: FieldStatistics | None
    right: FieldStatistics | None

    @property
    def change(self) -> float | None:
        """Difference of the means over the size of the first one; None where either has none."""
        if self.left is None or self.right is None or self.left.mean is None or self.right.mean is None:
            return None
        difference = self.right.mean - self.left.mean
        return difference / abs(self.left.mean) if self.left.mean else math.copysign(math.inf, difference)


class Parting(NamedTuple):
    """Where two streams of events part.

    Attributes:
        stream: name of the stream.
        rank: its rank.
        alike: events before it that are the same.
        left: the event of the first record there; None where it has ended.
        right: that of the second.
    """

    stream: str
    rank: int
    alike: int
    left: Event | None
    right: Event | None


@dataclass(slots=True)
class Comparison:
    """Two records side by side.

    Attributes:
        left: the first.
        right: the second.
        settings: configuration, packages and source that differ.
        results: outcome and results, the same or not.
        types: events by type where the counts differ.
        fields: numbers of fields whose mean, bounds or count differ.
        warnings: what could not be read of either.
        notes: what is worth knowing of either, such as several attempts.
    """

    left: Summary
    right: Summary
    settings: list[Pair] = field(default_factory=list)
    results: list[Pair] = field(default_factory=list)
    types: list[Pair] = field(default_factory=list)
    fields: list[FieldPair] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compare(
    left: RecordFiles | Survey,
    right: RecordFiles | Survey,
    wanted: Filter | None = None,
    other: Filter | None = None,
    *,
    latest: bool = False,
) -> Comparison:
    """Compare what two records state of their runs, and the statistics of their events.

    Args:
        left: files of the first record.
        right: files of the second.
        wanted: which events to count; None for all.
        other: which ones of the second record; None for the same.
        latest: as in `read`.

    Raises:
        RecordError: a file is no record or cannot be opened.
    """
    found = Comparison(summarize(left), summarize(right))
    found.settings = [pair for pair in _pairs(_settings(found.left), _settings(found.right)) if pair.left != pair.right]
    found.results = list(_pairs(_results(found.left), _results(found.right)))
    both = []
    for files, chosen in ((left, wanted), (right, other or wanted)):
        records = Records(survey(files), chosen or Filter(), strict=False, latest=latest)
        both.append({known.name: known for known in count_events(records).values()})
        found.warnings += records.warnings
        found.notes += records.notes
    counts = [{name: known.events for name, known in one.items()} for one in both]
    found.types = [pair for pair in _pairs(*counts) if pair.left != pair.right]
    found.fields = list(_field_pairs(*both))
    return found


def partings(
    left: RecordFiles | Survey,
    right: RecordFiles | Survey,
    wanted: Filter | None = None,
    other: Filter | None = None,
) -> Iterator[Parting]:
    """Yield where the events of two records part, stream by stream; nothing where they hold the same.

    Times are not compared, nor fields that hold durations or rates, nor RunStarted, which
    states where and when the run was.

    Args:
        left: files of the first record.
        right: files of the second.
        wanted: which events to compare; None for all.
        other: which ones of the second record; None for the same.

    Raises:
        RecordError: a file is no record, cannot be opened or is damaged.
    """
    sides = [_streams(files, chosen or Filter()) for files, chosen in ((left, wanted), (right, other or wanted))]
    for key in sorted(sides[0].keys() | sides[1].keys()):
        events = [_comparable(side.get(key)) for side in sides]
        for alike, (one, another) in enumerate(zip_longest(*events)):
            if one is None or another is None or content(one) != content(another):
                yield Parting(*key, alike, one, another)
                break


def content(event: Event) -> tuple[str, str]:
    """Return what of an event must come again in a run that is repeated; NaN equals itself."""
    units = event.units
    kept = {name: value for name, value in event.data.items() if not _measures_time(units.get(name, ""))}
    return event.type, repr(kept)


def _measures_time(unit: str) -> bool:
    return unit in _TIMES or unit.endswith("/s")


def _streams(files: RecordFiles | Survey, wanted: Filter) -> dict[tuple[str, int], Records]:
    found = survey(files)
    groups = groupby(found.places, key=attrgetter("header.stream", "header.rank"))
    return {key: Records(replace(found, places=tuple(group)), wanted) for key, group in groups}


def _comparable(records: Records | None) -> Iterator[Event]:
    return (event for event in records or () if event.type != RUN_STARTED)


def _pairs(left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[Pair]:
    for name in dict.fromkeys([*left, *right]):
        yield Pair(name, left.get(name), right.get(name))


def _settings(summary: Summary) -> dict[str, Any]:
    """Return what a run was started and configured with, in single values."""
    first = next((stream for stream in _latest_first(summary) if stream.started), None)
    if first is None:
        return {}
    plain = {name: value for name, value in first.started.items() if name not in _OWN}
    plain["versions"] = {package["name"]: package.get("version", "") for package in plain.get("versions", [])}
    config = first.configuration
    settings = config.settings if config is not None else {}
    return {**dict(flatten(plain)), **{f"config.{name}": value for name, value in settings.items()}}


def _results(summary: Summary) -> dict[str, Any]:
    latest = _latest_first(summary)
    own = [stream for stream in latest if not stream.parent] or latest
    finished = next((stream.finished for stream in own if stream.finished), {})
    outcome = own[0].outcome if own else None
    shown = {name: finished.get(name) for name in ("duration_s", "error_type", "dropped") if name in finished}
    return {"outcome": outcome, **shown, **finished.get("results", {})}


def _latest_first(summary: Summary) -> list[StreamSummary]:
    """Return the streams, those of the latest attempt first: it is the one that had a result."""
    return sorted(summary.streams, key=lambda stream: -stream.attempt)


def _field_pairs(left: Mapping[str, TypeStatistics], right: Mapping[str, TypeStatistics]) -> Iterator[FieldPair]:
    for type_name in dict.fromkeys([*left, *right]):
        sides = [side[type_name].fields if type_name in side else {} for side in (left, right)]
        for name in dict.fromkeys([*sides[0], *sides[1]]):
            one, other = sides[0].get(name), sides[1].get(name)
            numbers = [known for known in (one, other) if known is not None and (known.finite or known.non_finite)]
            if numbers and all(known.kind != "key" for known in numbers) and _figures(one) != _figures(other):
                yield FieldPair(type_name, name, one, other)


def _figures(known: FieldStatistics | None) -> tuple[Any, ...]:
    if known is None:
        return ()
    return known.finite, known.non_finite, known.total, known.least, known.most
