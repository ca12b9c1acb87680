"""Histograms by name: how the values of each batch are spread."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.views.axes import BY_STEP, XKind, position, x_axis
from esper_telemetry.views.figure import Gap, Histogram
from esper_telemetry.views.panel import Fold, Look, Panel

if TYPE_CHECKING:
    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure

MOST_NAMES = 64
MOST_COLUMNS = 512
"""Histograms of a name that are kept, the latest ones."""

_SHOWN_COLUMNS = 96


class Counted(NamedTuple):
    """One histogram: stored position, counts, what was NaN, its event."""

    at: float
    counts: tuple[int, ...]
    nan: int | None
    seq: int


class DistributionKey(NamedTuple):
    """What tells histograms apart: other edges are another figure."""

    name: str
    producer: bytes
    kind: XKind
    edges: tuple[float, ...]


class Distributions(Fold):
    """The latest histograms of each name."""

    def __init__(self) -> None:
        self._kept: dict[DistributionKey, deque[Counted]] = {}
        self._full_name = ""

    def add(self, event: Event) -> None:
        """Take a histogram."""
        data = event.data
        edges, counts = tuple(data.get("edges", ())), tuple(data.get("counts", ()))
        if not counts:
            return
        self._full_name = event.full_name
        kind, at = position(data, event.time_unix_nano, BY_STEP)
        key = DistributionKey(str(data.get("name", "")), event.producer_id, kind, edges)
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= MOST_NAMES:
                return
            kept = self._kept[key] = deque(maxlen=MOST_COLUMNS)
        kept.append(Counted(at, counts, data.get("nan"), event.seq))

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return a figure for each name and set of edges."""
        return tuple(self._figure(key, list(kept), look) for key, kept in self._kept.items())

    def _figure(self, key: DistributionKey, kept: list[Counted], look: Look) -> Histogram:
        place = look.facts.places.place
        low, high = look.window
        kept = [one for one in kept if low <= place(key.kind, one.at) <= high]
        size = 1
        while len(kept) / size > _SHOWN_COLUMNS:
            size *= 2
        groups = [kept[at : at + size] for at in range(0, len(kept), size)]
        text = "Values in each bucket; the first and last bucket are open."
        if size > 1:
            text += f" Each column is the sum of {size} histograms."
        return Histogram(
            key.name,
            x_axis(key.kind),
            "{value}",
            key.edges,
            tuple(place(key.kind, group[0].at) for group in groups),
            tuple(_summed([one.counts for one in group]) for group in groups),
            tuple(_nan(group) for group in groups),
            tuple(group[-1].seq for group in groups),
            tuple(self._gaps(key, kept, look)),
            text,
        )

    def _gaps(self, key: DistributionKey, kept: list[Counted], look: Look) -> list[Gap]:
        place = look.facts.places.place
        found = []
        missing = look.facts.numbering.gaps(key.producer, self._full_name)
        for before, after in pairwise(kept):
            count = sum(gap.numbers for gap in missing if before.seq < gap.first and gap.last < after.seq)
            if count:
                text = f"{count:,} sequence numbers are missing here"
                found.append(Gap(place(key.kind, before.at), place(key.kind, after.at), count, text))
        return found


def _summed(rows: list[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sum(column) for column in zip(*rows, strict=False))


def _nan(group: list[Counted]) -> int | None:
    known = [one.nan for one in group if one.nan is not None]
    return sum(known) if known else None


PANEL = Panel(
    "distributions",
    "Distributions",
    "A spread that collapses to one bucket, or runs out of the last one.",
    {"histogram.summarized": ("name", "edges", "counts", "nan")},
    Distributions,
)
