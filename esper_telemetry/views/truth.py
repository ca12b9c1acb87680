"""Truth strip: whether the record can be believed: its end, its losses by cause, and what could not be read.

Numbers are counted from the sequence numbers of the events that came; what a reader of files found besides
(damage, a cut end) is handed over by the caller as `ReaderFindings`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esper_telemetry.views.cell import Cell, CellState, Tone, measured, not_recorded, not_yet
from esper_telemetry.views.figure import Item, Strip
from esper_telemetry.views.panel import Fold, Look, Panel, ViewFacts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure

SLOW_S = 15.0
"""A live run whose last event is older than this is slow: heartbeats come every 10 s."""

STALE_S = 60.0
"""A live run whose last event is older than this is stale: six heartbeats are missing."""

_NANOS = 1e9
_COUNTERS = ("left_out", "doubtful", "values_left_out", "values_doubtful")


@dataclass(frozen=True, slots=True)
class ReaderFindings:
    """What a reader of files found beside the events.

    Attributes:
        warnings: one sentence each.
        missing: numbers that have no event, as the reader counts them; None where it did not.
        unknown: events that the record does not explain, by name.
    """

    warnings: tuple[str, ...] = ()
    missing: int | None = None
    unknown: Mapping[str, int] | None = None


def state_cell(facts: ViewFacts, now_ns: int | None) -> Cell:
    """Return whether a run ended, and for a live view how long ago its last event was made."""
    if facts.outcome:
        tone = Tone.GOOD if facts.outcome == "completed" else Tone.BAD
        return measured(f"ended: {facts.outcome}", tone=tone, reason="run.finished is in the record")
    if not facts.last_ns:
        return not_yet("no event so far")
    if now_ns is None:
        return Cell(
            CellState.MEASURED, "no end recorded", reason="run.finished is not in the record", tone=Tone.WARNING
        )
    age = max(0.0, (now_ns - facts.last_ns) / _NANOS)
    if age < SLOW_S:
        return measured("live", tone=Tone.GOOD, reason=f"last event {age:.1f} s ago")
    if age < STALE_S:
        return measured(f"slow: {age:.0f} s", tone=Tone.WARNING, reason="no event and no heartbeat for so long")
    return measured(f"stale: {age:.0f} s", tone=Tone.BAD, reason="no event and no heartbeat for so long")


class Truth(Fold):
    """What the record tells of its own completeness."""

    def __init__(self) -> None:
        self.findings = ReaderFindings()
        self.undecodable: Counter[str] = Counter()
        self.counters: dict[str, int] = {}
        self.disabled = ""
        self.clock_steps = 0
        self.heartbeat: tuple[float, str, int] | None = None

    def add(self, event: Event) -> None:
        """Take any event; only what telemetry reports of itself is looked into."""
        kind = event.type
        if kind == "counters.checked":
            data = event.data
            for name in _COUNTERS:
                if name in data:
                    self.counters[name] = self.counters.get(name, 0) + data[name]
        elif kind == "run.heartbeat":
            data = event.data
            idle = data.get("idle_s")
            if idle is not None:
                self.heartbeat = (idle, data.get("main_thread_at", ""), event.seq)
        elif kind == "telemetry.disabled":
            message, reason = event.data.get("message"), event.data.get("reason")
            self.disabled = str(message or reason or "telemetry is off")
        elif kind == "telemetry.clock_reanchored":
            self.clock_steps += 1

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return the strip; its items are always the same ones."""
        facts = look.facts
        items = (
            Item("state", state_cell(facts, look.now_ns)),
            Item("events", measured(sum(facts.counts.values()))),
            Item("lost", self._lost(facts)),
            Item("gaps", self._gaps(facts)),
            Item("left out of counts", self._left_out()),
            Item("not decodable", self._undecodable()),
            Item("level", self._level(facts)),
            Item("silent for", self._silent()),
            Item("reader", self._reader()),
        )
        tones = {item.cell.tone for item in items}
        tone = Tone.BAD if Tone.BAD in tones else Tone.WARNING if Tone.WARNING in tones else Tone.GOOD
        return (Strip("Record", items, tone),)

    def _lost(self, facts: ViewFacts) -> Cell:
        if facts.numbering.partial:
            return not_recorded("events were left out on purpose (a filter), so sequence numbers tell no loss")
        missing = facts.numbering.missing
        if self.findings.missing is not None:
            missing = max(missing, self.findings.missing)
        told = facts.numbering.drops.total()
        count = max(missing, told)
        if not count:
            return measured(0, tone=Tone.GOOD, reason="every sequence number up to the last one has its event")
        causes: Counter[str] = Counter()
        for (_, cause), dropped in facts.numbering.drops.items():
            causes[cause] += dropped
        unexplained = count - causes.total()
        texts = [f"{cause} {number:,}" for cause, number in causes.most_common() if number]
        if unexplained > 0:
            texts.append(f"{unexplained:,} without a cause")
        return measured(count, tone=Tone.BAD, reason="; ".join(texts))

    @staticmethod
    def _gaps(facts: ViewFacts) -> Cell:
        if facts.numbering.partial:
            return not_recorded("events were left out on purpose (a filter)")
        gaps = sum(len(stream.gaps) for stream in facts.numbering.streams.values())
        first = next((stream.gaps[0] for stream in facts.numbering.streams.values() if stream.gaps), None)
        where = (
            f"the first one: numbers {first.first:,} to {first.last:,}" if first else "sequence numbers are complete"
        )
        return measured(gaps, tone=Tone.BAD if gaps else Tone.GOOD, reason=where)

    def _left_out(self) -> Cell:
        if not self.counters:
            return not_yet("no counters.checked event: this run has no device counters, or its level leaves them out")
        total = sum(self.counters.values())
        texts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in self.counters.items())
        return measured(total, tone=Tone.WARNING if total else Tone.GOOD, reason=texts)

    def _undecodable(self) -> Cell:
        unknown = Counter(self.findings.unknown or {}) | self.undecodable
        total = unknown.total()
        texts = ", ".join(f"{name} {count:,}" for name, count in unknown.most_common(8))
        return measured(total, tone=Tone.BAD if total else Tone.GOOD, reason=texts or "every event was decoded")

    def _level(self, facts: ViewFacts) -> Cell:
        if self.disabled:
            return measured(facts.level or "off", tone=Tone.WARNING, reason=self.disabled)
        if not facts.level:
            return not_yet("no run.started event has come")
        return measured(facts.level, reason="events above this level are not recorded")

    def _silent(self) -> Cell:
        if self.heartbeat is None:
            return not_yet("no heartbeat: the program never was silent for 10 s")
        idle, where, seq = self.heartbeat
        return measured(idle, "s", reason=f"at the last heartbeat; main thread at {where or 'unknown'}", seq=seq)

    def _reader(self) -> Cell:
        texts = list(self.findings.warnings)
        if self.clock_steps:
            texts.append(f"the wall clock stepped {self.clock_steps} times")
        count = len(texts)
        if not count:
            return measured("no faults", tone=Tone.GOOD)
        text = "1 warning" if count == 1 else f"{count} warnings"
        return measured(text, tone=Tone.WARNING, reason="\n".join(texts[:12]))


PANEL = Panel(
    "truth",
    "Record",
    "Whether this record is complete; every other panel is only as true as this line.",
    {
        "*": (),
        "run.started": ("telemetry",),
        "run.finished": ("outcome", "offered", "drops"),
        "stream.finished": ("offered", "drops"),
        "telemetry.dropped": ("drops",),
        "telemetry.level_changed": ("to_level",),
        "telemetry.disabled": ("message", "reason"),
        "run.heartbeat": ("idle_s", "main_thread_at"),
        "counters.checked": _COUNTERS,
    },
    Truth,
    always=True,
)
