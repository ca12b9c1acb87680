"""Sequence numbers of the streams of a run: which are missing, and what the run itself tells of them.

Memory is bounded: beyond MOST_GAPS separate gaps of a stream, neighbours are joined into one, which is then drawn
wider than it is, never narrower.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esper_telemetry.decode import Event

MOST_GAPS = 4096
ANY_TYPE = "*"


class Missing(NamedTuple):
    """Numbers in a row that have no event, first and last included; `numbers` is less where gaps were joined."""

    first: int
    last: int
    numbers: int


@dataclass(slots=True)
class StreamNumbers:
    """The numbers of one stream.

    Attributes:
        stream: its name.
        rank: distributed rank.
        attempt: attempt at the run, from 1.
        first: smallest number seen.
        last: largest number seen.
        last_time_ns: latest time seen.
        events: events seen; rows of a block count one each.
        missing: numbers without an event between the first and the last one.
        gaps: the same as ranges, in order.
        finished: the stream has told how it ended.
    """

    stream: str
    rank: int
    attempt: int
    first: int
    last: int
    last_time_ns: int = 0
    events: int = 0
    missing: int = 0
    gaps: list[Missing] = field(default_factory=list)
    finished: bool = False

    def see(self, seq: int, time_ns: int) -> None:
        """Take the number of the next event."""
        self.events += 1
        self.last_time_ns = max(self.last_time_ns, time_ns)
        last = self.last
        if seq > last:
            if seq > last + 1:
                self.lose(last + 1, seq - 1)
            self.last = seq

    def lose(self, first: int, last: int) -> None:
        """Record that numbers have no event."""
        count = last - first + 1
        self.missing += count
        self.gaps.append(Missing(first, last, count))
        if len(self.gaps) > MOST_GAPS:
            pairs = zip(self.gaps[::2], self.gaps[1::2], strict=False)
            odd = self.gaps[-1:] if len(self.gaps) % 2 else []
            self.gaps = [Missing(a.first, b.last, a.numbers + b.numbers) for a, b in pairs] + odd


class Numbering:
    """All streams of a run.

    Attributes:
        streams: by producer id.
        drops: losses that the run itself has reported, by (full name of the type, cause).
        partial: events were left out on purpose, so that numbers tell no loss.
        read_missing: numbers without an event as the reader of the files counts them: it also knows of files that are
            gone before the first event or behind the last one.
    """

    def __init__(self) -> None:
        self.streams: dict[bytes, StreamNumbers] = {}
        self.drops: Counter[tuple[str, str]] = Counter()
        self.partial = False
        self.read_missing = 0
        self._reports: dict[bytes, Counter[tuple[str, str]]] = {}

    def see(self, event: Event) -> bool:
        """Take the next event of its stream, and tell whether it is the first one; nothing is lost before it."""
        producer, seq = event.producer_id, event.seq
        known = self.streams.get(producer)
        begins = known is None
        if known is None:
            known = self.streams[producer] = StreamNumbers(event.stream, event.rank, event.attempt, seq, seq - 1)
        known.see(seq, event.time_unix_nano)
        return begins

    def report(self, event: Event, data: Mapping[str, Any]) -> None:
        """Take what a run tells of its losses: telemetry.dropped, run.finished or stream.finished.

        The two last ones repeat all reports of their stream, and replace them.
        """
        told = Counter(
            {
                (str(drop.get("full_name", "")), str(drop.get("cause", "unknown"))): int(drop.get("count", 0))
                for drop in data.get("drops", ())
            }
        )
        if event.type == "telemetry.dropped":
            self._reports.setdefault(event.producer_id, Counter()).update(told)
        else:
            self._reports[event.producer_id] = told
            known = self.streams.get(event.producer_id)
            offered = data.get("offered")
            if known is not None and not known.finished:
                known.finished = True
                if offered is not None and offered > known.last:
                    known.lose(known.last + 1, offered)
        self.drops = Counter()
        for reports in self._reports.values():
            self.drops.update(reports)

    @property
    def missing(self) -> int:
        """Numbers of all streams that have no event."""
        if self.partial:
            return 0
        return max(self.read_missing, sum(stream.missing for stream in self.streams.values()))

    def gaps(self, producer: bytes, full_name: str) -> list[Missing]:
        """Return the gaps of a stream in which events of a type may have been.

        None is returned where the run accounts for every missing number and none was of this type.
        """
        stream = self.streams.get(producer)
        if self.partial or stream is None or not stream.gaps:
            return []
        told = self._reports.get(producer, Counter())
        names = {name for (name, _), count in told.items() if count}
        if told.total() >= stream.missing and not names & {full_name, ANY_TYPE}:
            return []
        return stream.gaps
