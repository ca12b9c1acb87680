"""What an origin of events hands to the thread that folds them: portions of events, and where it is in the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from esper_telemetry.decode import Event, Filter, Reference


class Phase(StrEnum):
    """Where the reading of a run is."""

    HISTORY = "history"
    """What was stored before the page was opened is being read."""
    LIVE = "live"
    """All that is stored was read; what is written next follows."""
    ENDED = "ended"
    """Every stream has ended: closed, or its writer is gone."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Some events of a run, each given once, and what the reader knows of the rest.

    Attributes:
        events: in the order of each stream, streams merged by time.
        phase: where the reading is after them.
        stored: events that were stored when the reading began; None where that is not known.
        warnings: what was found damaged, missing or cut off so far.
        unknown: events so far that the record does not explain, by type.
        missing: sequence numbers without an event, as far as the reader has counted them; None before it has.
    """

    events: Sequence[Event] = ()
    phase: Phase = Phase.HISTORY
    stored: int | None = None
    warnings: tuple[str, ...] = ()
    unknown: Mapping[str, int] = field(default_factory=dict)
    missing: int | None = None


class EventOrigin(Protocol):
    """Where the events of one run come from."""

    @property
    def name(self) -> str:
        """The run or its place, for errors."""

    def portions(self, stop: Callable[[], bool]) -> Iterator[Portion]:
        """Yield every event that is stored, then every event that follows, until `stop` is true.

        One thread iterates. It goes on after the end of the run, in case that another attempt begins.

        Raises:
            RecordError: the run cannot be read (any more).
            OSError: likewise.
        """

    def wake(self) -> None:
        """End a wait inside `portions` soon, so that it asks `stop`. Any thread may call it."""

    def last(self, wanted: Filter, count: int) -> list[Event]:
        """Return the last `count` events that are wanted, read from the origin; the events in memory are not asked.

        Raises:
            RecordError: the run cannot be read.
        """

    def reference(self) -> Reference:
        """Return what the types of the run mean: fields, units, comments.

        Raises:
            RecordError: the run cannot be read, or the origin cannot tell.
        """
