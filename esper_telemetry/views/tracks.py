"""Lines of a panel by measurement, label and stream: the state behind nearly every series.

A line belongs to one stream (a rank in an attempt) and one label (an environment, a head), so that no environment,
rank or attempt overwrites another one. What is placed by different counters gets figures of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.views.axes import XKind, outer_of, position, x_axis
from esper_telemetry.views.cell import measured
from esper_telemetry.views.figure import Gap, Line, Point, Series
from esper_telemetry.views.panel import WHOLE
from esper_telemetry.views.points import PointStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Axis, Band, Mark
    from esper_telemetry.views.panel import Look

MOST_LINES = 64


class TrackKey(NamedTuple):
    """What tells the lines of a panel apart."""

    measurement: str
    label: str
    kind: XKind
    producer: bytes


@dataclass(slots=True)
class Track:
    """One line: its measurements and its stream."""

    points: PointStore
    rank: int
    attempt: int
    full_name: str


class Tracks:
    """The lines of a panel.

    Args:
        order: which counters place an event, the best one first.
    """

    def __init__(self, order: Sequence[XKind]) -> None:
        self._order = order
        self._tracks: dict[TrackKey, Track] = {}
        self._labels: dict[str, int] = {}
        self._marks: list[tuple[XKind, float, Mark]] = []

    @property
    def measurements(self) -> list[str]:
        """Names of what was measured, in the order met."""
        return list(dict.fromkeys(key.measurement for key in self._tracks))

    def add(self, event: Event, data: Mapping[str, Any], values: Mapping[str, float | None], label: str = "") -> None:
        """Append the measurements of one event; None marks one that the event left unset.

        Args:
            event: where they come from.
            data: its payload and context.
            values: by name of the measurement.
            label: what tells its line apart, e.g. "env 3".
        """
        kind, x = position(data, event.time_unix_nano, self._order)
        producer, seq = event.producer_id, event.seq
        self._labels.setdefault(label, len(self._labels))
        for measurement, value in values.items():
            key = TrackKey(measurement, label, kind, producer)
            track = self._tracks.get(key)
            if track is None:
                if value is None:
                    continue
                track = self._tracks[key] = Track(PointStore(), event.rank, event.attempt, event.full_name)
            if value is None:
                track.points.skip(seq)
            else:
                track.points.add(x, value, seq)

    def keys(self, measurement: str) -> list[tuple[TrackKey, Track]]:
        """Return the lines of a measurement in the order of their labels and streams."""
        found = [(key, track) for key, track in self._tracks.items() if key.measurement == measurement]
        return sorted(found, key=lambda one: (one[1].attempt, one[1].rank, self._number(one[0].label)))

    def latest(self, measurement: str) -> tuple[float, int] | None:
        """Return the latest value of a measurement and its sequence number; None without any."""
        lasts = [track.points.last for _, track in self.keys(measurement)]
        known = [last for last in lasts if last is not None]
        return (known[-1].y, known[-1].seq) if known else None

    def series(
        self,
        measurement: str,
        look: Look,
        y: Axis,
        *,
        title: str = "",
        bands: Sequence[Band] = (),
        marks: Sequence[Mark] = (),
        explanation: str = "",
        names: Mapping[str, str] | None = None,
    ) -> list[Series]:
        """Return the figures of one measurement: one for each kind of x axis that its events have.

        Args:
            measurement: its name.
            look: how it is asked for.
            y: its axis.
            title: what is shown; the label of the axis by default.
            bands: stretches of the y axis with a meaning.
            marks: events on the x axis.
            explanation: how to read it.
            names: what to call the labels, where not as they are.
        """
        found = self.keys(measurement)
        figures = []
        for kind in dict.fromkeys(key.kind for key, _ in found):
            mine = [(key, track) for key, track in found if key.kind is kind]
            share = max(24, look.points * 2 // max(2, min(len(mine), MOST_LINES)))
            lines = [self._line(key, track, look, share, names or {}) for key, track in mine[:MOST_LINES]]
            hidden = len(mine) - len(lines)
            more = f"{hidden} more lines are not drawn. " if hidden > 0 else ""
            last = max((track.points.last for _, track in mine if track.points.last), key=lambda one: one.seq)
            figures.append(
                Series(
                    title or y.label,
                    x_axis(kind),
                    y,
                    tuple(lines),
                    tuple(bands),
                    tuple(marks),
                    tuple(gaps_of(mine, look)),
                    more + explanation,
                    measured(last.y, y.unit, seq=last.seq) if len(mine) == 1 else None,
                )
            )
        return figures

    def _number(self, label: str) -> int:
        """Return the number of a label: an environment's own one, so that its colour is the same everywhere."""
        number = label.removeprefix("env ")
        return int(number) if number.isdecimal() and number != label else self._labels[label]

    def _line(self, key: TrackKey, track: Track, look: Look, most: int, names: Mapping[str, str]) -> Line:
        facts, store = look.facts, track.points
        place = facts.places.place
        placed = None if look.window == WHOLE else [place(key.kind, x) for x in store.positions()]
        chosen, each = store.chosen(most, look.window, placed)
        gaps = facts.numbering.gaps(key.producer, track.full_name)
        points: list[Point] = []
        before: int | None = None
        episode = 0
        at = 0
        # Bins that are wider than half an episode leave too few points of each to be a line.
        by_episode = key.kind is XKind.EPOCH and 1 < facts.places.epochs >= 2 * each
        for point in chosen:
            joined = before is not None and not store.skipped_between(before, point.seq)
            if by_episode and episode != (episode := outer_of(point.x)):
                joined = False  # another episode began: its host is a new one
            while at < len(gaps) and gaps[at].last < point.seq:
                joined = joined and (before is None or gaps[at].first < before)
                at += 1
            points.append(Point(place(key.kind, point.x), point.y, point.seq, joined))
            before = point.seq
        stream = facts.stream_label(track.rank, track.attempt)
        label = names.get(key.label, key.label)
        name = " · ".join(part for part in (label, stream) if part)
        hue = self._number(key.label) if len(self._labels) > 1 else track.rank
        return Line(name, tuple(points), store.count, hue, each=each, stream=stream, dashed=False)


def gaps_of(tracks: Sequence[tuple[TrackKey, Track]], look: Look) -> list[Gap]:
    """Return the stretches of the x axis in which events of the lines may be missing, each once."""
    facts = look.facts
    found: dict[tuple[float | None, float | None], int] = {}
    for key, track in tracks:
        for missing in facts.numbering.gaps(key.producer, track.full_name):
            before, after = track.points.around(missing.first, missing.last)
            place = facts.places.place
            start = None if before is None else place(key.kind, before)
            end = None if after is None else place(key.kind, after)
            found[start, end] = max(missing.numbers, found.get((start, end), 0))
    return [
        Gap(start, end, count, f"{count:,} sequence numbers are missing here; what they held is not known")
        for (start, end), count in found.items()
        if start is not None or end is not None
    ]
