"""What a panel is: which fields of which events it reads, and the fold that turns them into figures.

A fold takes one event at a time, in the order of the record, and keeps what its figures need under the keys of the
events (rank, attempt, environment, episode). It has no clock and reads nothing else, so live view, replay and report
agree. Folds are used by one thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esper_telemetry.views.axes import Places
from esper_telemetry.views.numbering import Numbering
from esper_telemetry.views.points import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure, Footer

WHOLE = Window()
EVERY = "*"
"""A panel that names this type is made of every event; its fold takes each of them if this is the field too."""

LEVELS = ("off", "lifecycle", "minimal", "normal", "debug")
"""Levels of a run, each of which records what those before it do."""

FOREIGN = "(other packages)"
"""A panel that reads this type reads the events of packages that are not ours."""

BUILT_IN = ("esper_telemetry.v1.", "esper.v1.")
"""Packages whose events the panels know; an event of another package is never taken for one of them by its name."""


@dataclass(slots=True)
class ViewFacts:
    """What all panels of a run know.

    Attributes:
        numbering: sequence numbers of its streams.
        places: positions on the axes.
        level: level in force, e.g. "normal"; "" where it is not known.
        config: configuration of the run.
        tags: labels that the user gave it.
        results: what the run reported at its end.
        run_id: id of the run.
        name: name that the user gave it.
        group: group of an A/B comparison; "" without one.
        started_ns: time of the first event, nanoseconds since 1970 UTC; 0 before it.
        last_ns: latest time of an event.
        outcome: how the run ended, as run.finished reports; "" while it has not.
        ranks: distributed ranks seen.
        attempts: attempts seen.
        counts: events by full name of the type.
        names: short name by full name.
        absent: titles of the panels that have nothing to show, each with the reason, as of the last question.
    """

    numbering: Numbering = field(default_factory=Numbering)
    places: Places = field(default_factory=Places)
    level: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    results: dict[str, float] = field(default_factory=dict)
    run_id: str = ""
    name: str = ""
    group: str = ""
    started_ns: int = 0
    last_ns: int = 0
    outcome: str = ""
    ranks: set[int] = field(default_factory=set)
    attempts: set[int] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    absent: tuple[tuple[str, str], ...] = ()

    def stream_label(self, rank: int, attempt: int) -> str:
        """Return what tells a stream apart from the others of the run; "" where there is only one."""
        parts = []
        if len(self.ranks) > 1:
            parts.append(f"rank {rank}")
        if len(self.attempts) > 1:
            parts.append(f"attempt {attempt}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Look:
    """How figures are asked for.

    Attributes:
        facts: what is known of the run.
        window: the part of the x axis; everything by default.
        points: how many points of a line are worth drawing.
        rows: how many rows of a table, feed, grid or set of lanes are worth showing.
        now_ns: the time of a live view; None in a replay or a report.
    """

    facts: ViewFacts
    window: Window = WHOLE
    points: int = 600
    rows: int = 64
    now_ns: int | None = None


class Fold(ABC):
    """The state of one panel of one run."""

    @abstractmethod
    def add(self, event: Event) -> None:
        """Take the next event of one of the types that the panel reads."""

    @abstractmethod
    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return what it shows now. It changes nothing: asking twice gives the same."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel of a run.

    Attributes:
        id: short name for links and `plot`.
        title: what it shows.
        hint: what to look at, in one sentence.
        reads: fields that are read, by short name of the event type; context fields by their own names. Fields of
            nested messages as "heads.entropy". "*" as a type: every event is counted; with "*" as its field, every
            event is read.
        fold: makes the state of one run.
        always: it is shown even where none of its events came.
        level: lowest level at which a run records its events.
        foreign: events of other packages are read too, by their short names.
    """

    id: str
    title: str
    hint: str
    reads: Mapping[str, tuple[str, ...]]
    fold: Callable[[], Fold]
    always: bool = False
    level: str = "normal"
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class PanelFigures:
    """A panel as it is now.

    Attributes:
        panel: what it is.
        figures: what it shows; empty where it could not be made.
        footer: where its numbers come from.
        version: rises when an event of its types came.
        absence: why it shows nothing; "" where it shows something.
    """

    panel: Panel
    figures: tuple[Figure, ...]
    footer: Footer
    version: int
    absence: str = ""
