"""Which events are wanted: by type, environment, time, sequence number and rank, decided before a payload is parsed."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from esper_telemetry.recordfile import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esper_telemetry.decode.types import EventKind, Origin
    from esper_telemetry.recordfile import Envelope


@dataclass(frozen=True, slots=True)
class Filter:
    """A choice of events; None means all.

    Attributes:
        types: short or full names, in which * and ? match anything: ("seed.*",).
        envs: environments; events without an env_id are left out.
        since_ns: earliest time, nanoseconds since 1970 UTC, inclusive.
        until_ns: latest time, exclusive.
        first_seq: first sequence number, inclusive.
        last_seq: last sequence number, inclusive.
        ranks: ranks of the processes.
        batches: first and last batch_idx, both inclusive, None where it is open; events without one are left out.
        steps: first and last step, in the same way.

    batch_idx and step are those that a reader sees in the data of an event: of its payload, else of its context.
    Rows of a block of steps are chosen by their own type, environment, batch and step, but by the time
    and number of their block: windows that touch hold every row once.
    """

    types: tuple[str, ...] | None = None
    envs: frozenset[int] | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    first_seq: int | None = None
    last_seq: int | None = None
    ranks: frozenset[int] | None = None
    batches: tuple[int | None, int | None] | None = None
    steps: tuple[int | None, int | None] | None = None

    @property
    def by_place(self) -> bool:
        """Whether events are chosen by where in the run they happened: environment, batch or step."""
        return not (self.envs is None and self.batches is None and self.steps is None)

    def wants_place(self, place: Mapping[str, Any]) -> bool:
        """Tell whether an event is wanted by its environment, batch and step.

        Args:
            place: its context fields, and those of its payload that hide one.
        """
        return (
            (self.envs is None or place.get("env_id") in self.envs)
            and (self.batches is None or _within(place.get("batch_idx"), self.batches))
            and (self.steps is None or _within(place.get("step"), self.steps))
        )

    @property
    def place_names(self) -> list[str]:
        """Names of the fields that say where in the run an event happened, as far as some places are not wanted."""
        chosen = {"env_id": self.envs, "batch_idx": self.batches, "step": self.steps}
        return [name for name, choice in chosen.items() if choice is not None]

    def wants_at(self, name: str, value: Any) -> bool:
        """Tell whether events are wanted that have a value (None: none) in one of `place_names`."""
        if name == "env_id":
            return self.envs is None or value in self.envs
        span = self.batches if name == "batch_idx" else self.steps
        return span is None or _within(value, span)

    def wants(self, kind: EventKind) -> bool:
        """Tell whether events of `kind` are wanted."""
        return self.types is None or any(
            fnmatchcase(name, want) for want in self.types for name in (kind.name, kind.full_name)
        )

    def wants_rank(self, rank: int) -> bool:
        """Tell whether the streams of `rank` are wanted."""
        return self.ranks is None or rank in self.ranks

    def selection(self, origin: Origin, *, expand: bool) -> Selection:
        """Return the choice among the frames of a segment; what it leaves in is looked at event by event.

        Args:
            origin: the segment.
            expand: whether blocks of steps are wanted for their rows.
        """
        wanted = None
        if self.types is not None and not any(want.startswith("type:") for want in self.types):
            declared = origin.type_ids
            blocks = origin.block_ids if expand else frozenset()
            wanted = blocks | {number for number in declared if self.wants(origin.kinds[number])}
        return Selection(
            type_ids=wanted,
            since_ns=self.since_ns,
            until_ns=self.until_ns,
            first_seq=self.first_seq,
            last_seq=self.last_seq,
        )

    def covers(self, envelope: Envelope) -> bool:
        """Tell whether time and sequence number of an event are wanted."""
        return (
            (self.since_ns is None or envelope.time_unix_nano >= self.since_ns)
            and (self.until_ns is None or envelope.time_unix_nano < self.until_ns)
            and (self.first_seq is None or envelope.seq >= self.first_seq)
            and (self.last_seq is None or envelope.seq <= self.last_seq)
        )


def _within(value: Any, span: tuple[int | None, int | None]) -> bool:
    first, last = span
    return value is not None and (first is None or value >= first) and (last is None or value <= last)
