"""Counts by batch: sums over devices and ranks, in which a batch that was done again counts once.

Counts are deltas, so neighbouring batches can be summed where there are too many to draw; ratios are then ratios of
sums, never means of ratios. What a later attempt reports of a batch replaces what an earlier one did.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.views.figure import Gap

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esper_telemetry.decode import Event
    from esper_telemetry.views.panel import Look

MOST_BATCHES = 1 << 14
"""Batches that are kept singly; beyond, neighbours are summed."""


class CountSource(NamedTuple):
    """What counts a batch once: a device of a rank, a head, an environment."""

    rank: int
    part: str


@dataclass(slots=True)
class BatchCounts:
    """Counts of one stretch of batches.

    Attributes:
        first: first batch.
        last: last batch.
        seq: sequence number of the latest event in it.
        producer: stream of that event.
        counts: by name, over all sources.
    """

    first: int
    last: int
    seq: int = 0
    producer: bytes = b""
    counts: dict[str, float] = field(default_factory=dict)


class BatchTable:
    """Counts by batch and source."""

    def __init__(self) -> None:
        self._batches: dict[int, dict[CountSource, tuple[int, dict[str, float]]]] = {}
        self._events: dict[int, tuple[int, bytes]] = {}
        self._names: dict[str, None] = {}
        self._each = 1
        self.full_name = ""

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def names(self) -> list[str]:
        """Names of what was counted, in the order met."""
        return list(self._names)

    def add(self, event: Event, batch: int, part: str, counts: Mapping[str, float]) -> None:
        """Add the counts of an event.

        Args:
            event: where they come from.
            batch: the batch.
            part: what else tells its source apart, such as the device.
            counts: by name.
        """
        self.full_name = event.full_name
        at = batch // self._each
        kept = self._batches.setdefault(at, {})
        source = CountSource(event.rank, part)
        attempt, sums = kept.get(source, (0, {}))
        if event.attempt > attempt and self._each == 1:
            attempt, sums = event.attempt, {}
        for name, count in counts.items():
            self._names.setdefault(name)
            sums[name] = sums.get(name, 0) + count
        kept[source] = max(attempt, event.attempt), sums
        self._events[at] = event.seq, event.producer_id
        if len(self._batches) > MOST_BATCHES:
            self._join()

    def stretches(self, most: int, look: Look | None = None) -> list[BatchCounts]:
        """Return sums over stretches of a power of two of batches, at most about `most` of them.

        Args:
            most: how many.
            look: leaves out what is outside of its window.
        """
        inside = sorted(self._batches)
        if look is not None:
            low, high = look.window
            inside = [at for at in inside if low <= at * self._each and at * self._each + self._each - 1 <= high]
        size = 1
        while inside and (inside[-1] - inside[0]) / size >= most:
            size *= 2
        found: dict[int, BatchCounts] = {}
        for at in inside:
            first, last = at * self._each, at * self._each + self._each - 1
            group = found.setdefault(at // size, BatchCounts(first, last))
            group.last = max(group.last, last)
            group.seq, group.producer = self._events[at]
            for _, sums in self._batches[at].values():
                for name, count in sums.items():
                    group.counts[name] = group.counts.get(name, 0) + count
        return list(found.values())

    def _join(self) -> None:
        """Sum pairs of neighbours, so that memory is bounded."""
        joined: dict[int, dict[CountSource, tuple[int, dict[str, float]]]] = {}
        events: dict[int, tuple[int, bytes]] = {}
        for at, sources in self._batches.items():
            kept = joined.setdefault(at // 2, {})
            events[at // 2] = self._events[at]
            for source, (attempt, sums) in sources.items():
                known, before = kept.get(source, (0, {}))
                for name, count in sums.items():
                    before[name] = before.get(name, 0) + count
                kept[source] = max(known, attempt), before
        self._batches, self._events, self._each = joined, events, self._each * 2


def batch_gaps(stretches: Iterable[BatchCounts], full_name: str, look: Look) -> list[Gap]:
    """Return where numbers are missing between the events of neighbouring stretches."""
    numbering = look.facts.numbering
    gaps: list[Gap] = []
    before: BatchCounts | None = None
    for stretch in stretches:
        if before is not None and before.producer == stretch.producer:
            missing = sum(
                gap.numbers
                for gap in numbering.gaps(stretch.producer, full_name)
                if before.seq < gap.first and gap.last < stretch.seq
            )
            if missing:
                text = f"{missing:,} sequence numbers are missing here"
                gaps.append(Gap(before.last, stretch.first, missing, text))
        before = stretch
    return gaps
