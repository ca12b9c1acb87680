"""All panels of one run: feeds events to their folds and tells which panels have changed.

It is fed by one thread, in the order of each stream; memory is bounded by the bounds of the folds. A fold that
fails on an event is taken out and reports why in its panel: one broken panel never blanks the others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esper_telemetry.views.alerts import Alerts
from esper_telemetry.views.figure import Footer
from esper_telemetry.views.panel import BUILT_IN, EVERY, FOREIGN, LEVELS, Fold, Look, Panel, PanelFigures, ViewFacts
from esper_telemetry.views.truth import ReaderFindings, Truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from esper_telemetry.decode import Event


_LIFE = ("run.", "telemetry.", "stream.")


@dataclass(slots=True)
class _TypeSeen:
    """What is known of the events of one type.

    Attributes:
        name: short name.
        readers: panels whose folds take its events.
        life: its events tell of the run itself.
        epochs: its events tell how many epochs a batch has.
    """

    name: str
    readers: tuple[_Kept, ...]
    life: bool
    epochs: bool
    count: int = 0
    first_seq: int = 0
    last_seq: int = 0
    last_time_ns: int = 0


@dataclass(slots=True, eq=False)
class _Kept:
    """A panel and its state."""

    panel: Panel
    fold: Fold
    findings: int = 0
    failure: str = ""
    types: list[_TypeSeen] = field(default_factory=list)

    @property
    def version(self) -> int:
        """Events that it is made of: it is the same while no further one came."""
        return self.findings + sum(seen.count for seen in self.types)


class RunView:
    """The panels of one run.

    Args:
        panels: which ones, in the order in which they are shown.
        partial: the events were chosen by a filter, so that missing numbers tell no loss.
    """

    def __init__(self, panels: Sequence[Panel], *, partial: bool = False) -> None:
        self.facts = ViewFacts()
        self.facts.numbering.partial = partial
        self._kept = [_Kept(panel, panel.fold()) for panel in panels]
        self._seen: dict[str, _TypeSeen] = {}

    @property
    def version(self) -> int:
        """Events that were taken."""
        return sum(seen.count for seen in self._seen.values())

    @property
    def panels(self) -> list[Panel]:
        """The panels in their order."""
        return [kept.panel for kept in self._kept]

    def feed(self, events: Iterable[Event]) -> int:
        """Give events to the folds; return how many there were."""
        before = self.version
        for event in events:
            self._take(event)
        return self.version - before

    def reader_found(self, findings: ReaderFindings) -> None:
        """Record what a reader of files found beside the events: damage, a cut end, what it could not decode."""
        missing = findings.missing or 0
        changed = missing != self.facts.numbering.read_missing
        self.facts.numbering.read_missing = missing
        for kept in self._kept:
            if isinstance(kept.fold, Truth) and kept.fold.findings != findings:
                kept.fold.findings = findings
                kept.findings += 1
            elif changed and isinstance(kept.fold, Alerts):  # a rule may fire because of it
                kept.findings += 1

    def versions(self) -> dict[str, int]:
        """Return the version of each panel: one that is the same needs not be drawn again."""
        return {kept.panel.id: kept.version for kept in self._kept}

    def fold(self, panel_id: str) -> Fold:
        """Return the state of a panel.

        Raises:
            KeyError: there is no such panel.
        """
        return self._of(panel_id).fold

    def figures(self, look: Look | None = None) -> list[PanelFigures]:
        """Return every panel that has something to show, or is always shown."""
        look = look or Look(self.facts)
        self._note_absent()
        return [self._shown(kept, look) for kept in self._kept if kept.version or kept.panel.always]

    def panel_figures(self, panel_id: str, look: Look | None = None) -> PanelFigures:
        """Return one panel, whether or not it has something to show.

        Raises:
            KeyError: there is no such panel.
        """
        self._note_absent()
        return self._shown(self._of(panel_id), look or Look(self.facts))

    def absent(self) -> list[tuple[Panel, str]]:
        """Return the panels that have nothing to show, each with the reason."""
        return [(kept.panel, self._absence(kept)) for kept in self._kept if not kept.version and not kept.panel.always]

    def _note_absent(self) -> None:
        """Tell the panels which of them have nothing to show now."""
        self.facts.absent = tuple((panel.title, reason) for panel, reason in self.absent())

    def _of(self, panel_id: str) -> _Kept:
        for kept in self._kept:
            if kept.panel.id == panel_id:
                return kept
        known = ", ".join(kept.panel.id for kept in self._kept)
        raise KeyError(f"there is no panel {panel_id!r}; there are: {known}")

    def _take(self, event: Event) -> None:
        full_name, seq, time_ns = event.full_name, event.seq, event.time_unix_nano
        seen = self._seen.get(full_name)
        if seen is None:
            seen = self._begin_type(event)
        seen.count += 1
        seen.first_seq = min(seen.first_seq, seq)
        seen.last_seq = max(seen.last_seq, seq)
        seen.last_time_ns = max(seen.last_time_ns, time_ns)
        facts = self.facts
        if facts.numbering.see(event):
            self._begin_stream(event)
        facts.last_ns = max(facts.last_ns, time_ns)
        facts.counts[full_name] = seen.count
        if seen.epochs:
            inner = event.data.get("inner_epoch")
            if inner is not None:
                facts.places.see(inner)
        elif seen.life:
            self._note_life(event, seen.name)
        for kept in seen.readers:
            if not kept.failure:
                try:
                    kept.fold.add(event)
                except Exception as error:  # noqa: BLE001 - a broken panel reports it; the other panels go on
                    self._fail(kept, event, error)

    def _begin_type(self, event: Event) -> _TypeSeen:
        """Find the panels that read events of this type, and those that only count them."""
        name, ours = event.type, event.full_name.startswith(BUILT_IN)
        key = name if ours else FOREIGN
        readers = tuple(kept for kept in self._kept if _reads(kept.panel, key, name))
        life = ours and name.startswith(_LIFE)
        seen = _TypeSeen(name, readers, life, ours and name == "epoch.completed", first_seq=event.seq)
        self._seen[event.full_name] = seen
        for kept in self._kept:
            if kept in readers or EVERY in kept.panel.reads:
                kept.types.append(seen)
        self.facts.names[event.full_name] = name
        return seen

    def _begin_stream(self, event: Event) -> None:
        """Take what the first event of a stream tells of it."""
        facts = self.facts
        facts.ranks.add(event.rank)
        facts.attempts.add(event.attempt)
        if not facts.started_ns:
            facts.started_ns = event.time_unix_nano
            facts.run_id = event.run_id

    def _note_life(self, event: Event, kind: str) -> None:
        facts, data = self.facts, event.data
        if kind == "run.started":
            facts.name = str(data.get("name", ""))
            facts.tags = dict(data.get("tags", {}))
            facts.level = str(data.get("telemetry", {}).get("level", "")).lower()
            facts.outcome = ""  # an attempt begins; how the one before ended is its own
            self._configure(data)
        elif kind == "run.configured":
            self._configure(data)
        elif kind == "telemetry.level_changed":
            facts.level = str(data.get("to_level", "")).lower()
        elif kind == "run.finished":
            facts.outcome = str(data.get("outcome", "unknown")).lower()
            facts.results = dict(data.get("results", {}))
        if kind in ("run.finished", "stream.finished", "telemetry.dropped"):
            facts.numbering.report(event, data)
        facts.group = str(data.get("group", facts.group))

    def _configure(self, data: dict[str, Any]) -> None:
        try:
            given = json.loads(data.get("config_json") or "{}")
        except ValueError:
            return
        if not isinstance(given, dict):
            return
        self.facts.config |= given
        epochs = given.get("max_epochs")
        if isinstance(epochs, int) and 0 < epochs < 1 << 20:
            self.facts.places.see(epochs)

    @staticmethod
    def _fail(kept: _Kept, event: Event, error: Exception) -> None:
        kept.failure = f"the panel failed at event {event.seq:,} ({event.type}): {type(error).__name__}: {error}"

    def _absence(self, kept: _Kept) -> str:
        if kept.failure:
            return kept.failure
        if kept.version:
            return ""
        level, needed = self.facts.level, kept.panel.level
        if level in LEVELS and LEVELS.index(level) < LEVELS.index(needed):
            return f"not recorded at level {level}: its events need level {needed}"
        if set(kept.panel.reads) == {FOREIGN}:
            return "no event of another package came"
        types = ", ".join(name for name in kept.panel.reads if name != EVERY)
        when = "came" if self.facts.outcome else "has come so far"
        return f"no event of {types} {when}"

    def _shown(self, kept: _Kept, look: Look) -> PanelFigures:
        absence = self._absence(kept)
        figures: tuple[Any, ...] = ()
        if not kept.failure:
            try:
                figures = kept.fold.figures(look)
            except Exception as error:  # noqa: BLE001 - as in _take
                absence = f"the panel could not be drawn: {type(error).__name__}: {error}"
        return PanelFigures(kept.panel, figures, _footer(kept.types), kept.version, absence)


def _reads(panel: Panel, key: str, name: str) -> bool:
    """Tell whether the fold of a panel takes events of a type."""
    every = EVERY in panel.reads.get(EVERY, ())
    return every or key in panel.reads or (panel.foreign and name in panel.reads)


def _footer(types: Sequence[_TypeSeen]) -> Footer:
    if not types:
        return Footer(0, (), None, None, None)
    return Footer(
        sum(seen.count for seen in types),
        tuple((seen.name, seen.count) for seen in types),
        min(seen.first_seq for seen in types),
        max(seen.last_seq for seen in types),
        max(seen.last_time_ns for seen in types),
    )
