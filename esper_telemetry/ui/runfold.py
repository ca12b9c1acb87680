"""One run that is open: a thread reads its events and folds them, another one publishes what changed in the figures.

Both threads belong to this object. What ends one of them is kept and shown on the page, and the reading is begun anew;
neither dies unseen. The folds are used under one lock, which an exception releases like everything else. Memory is
bounded by the folds, by the ring and by the recent events.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from esper_telemetry.clock import SYSTEM_CLOCK
from esper_telemetry.errors import TelemetryError
from esper_telemetry.ui.changes import changes
from esper_telemetry.ui.liveness import Pulse
from esper_telemetry.ui.origin import Phase, Portion
from esper_telemetry.ui.recent import Recent
from esper_telemetry.ui.ring import Ring
from esper_telemetry.views import Look, ReaderFindings, RunView, Window, document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esper_telemetry.clock import Clock
    from esper_telemetry.ui.origin import EventOrigin
    from esper_telemetry.ui.recent import RecentEvents
    from esper_telemetry.views import Panel, PanelFigures

Answer = TypeVar("Answer")

_LOG = logging.getLogger(__name__)
# A person sees two pictures a second as a flow; drawing takes at most a third of the time, and 1.5 s bound the delay.
_SHORTEST_S, _LONGEST_S = 0.5, 1.5
_SHARE = 3
_AGAIN_S = 2.0
# A panel is about 400 points wide: a bin of two extremes each is a line without a hole.
POINTS, ROWS = 400, 64


class RunFold:
    """An open run.

    Args:
        origin: where its events come from.
        panels: which panels are folded.
        clock: tells the time of a live view.
        live: the time matters; False for a replay, whose figures must not depend on it.
        publish: fill the ring; False for a viewer in this process that asks for `figures`.

    Attributes:
        ring: what viewers follow.
        threads: the one that reads and the one that publishes.
    """

    def __init__(
        self,
        origin: EventOrigin,
        panels: Sequence[Panel],
        clock: Clock = SYSTEM_CLOCK,
        *,
        live: bool = True,
        publish: bool = True,
    ) -> None:
        self._order = [panel.id for panel in panels]  # the same for every viewer, whenever it connects
        self.ring = Ring(_encode, {"panels": {}, "order": self._order, "state": {}})
        self._origin = origin
        self._panels = panels
        self._clock = clock
        self._live = live
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._stopping = False
        self._generation = 0
        self._start_over()
        self.threads = [
            threading.Thread(target=self._keep_going, args=(work,), name=f"esper-ui-{name}", daemon=True)
            for name, work in (("reader", self._read), ("publisher", self._publish))
            if publish or work == self._read
        ]

    @property
    def origin(self) -> EventOrigin:
        """Where its events come from."""
        return self._origin

    def start(self) -> None:
        """Begin to read."""
        for thread in self.threads:
            thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End both threads; wait for them for a limited time."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        self._origin.wake()
        deadline = time.monotonic() + timeout
        for thread in self.threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def state(self) -> dict[str, Any]:
        """Return how the reading goes and how the run fares, as values for JSON."""
        with self._lock:
            return self._state()

    def recent(self, number: int, wanted: Callable[[Any], bool], most: int) -> RecentEvents:
        """Return recent events, as `Recent.after`."""
        with self._lock:
            return self._recent.after(number, wanted, most)

    def panel(self, panel_id: str, window: Window | None = None, points: int = POINTS) -> Any:
        """Return one panel as values for JSON, for a part of its x axis or with more points.

        Raises:
            KeyError: there is no such panel.
        """
        with self._lock:
            look = self._look(window=window, points=points)
            return panel_document(self._view.panel_figures(panel_id, look))

    def figures(self, panel_ids: Sequence[str], points: int = POINTS, rows: int = ROWS) -> list[PanelFigures]:
        """Return panels as they are now, those of `panel_ids` that have something to show or are always shown."""
        with self._lock:
            look = replace(self._look(points=points), rows=rows)
            shown = self._view.versions()
            return [
                self._view.panel_figures(panel.id, look)
                for panel in self._view.panels
                if panel.id in panel_ids and (panel.always or shown[panel.id])
            ]

    def ask(self, question: Callable[[RunView, Look], Answer]) -> Answer:
        """Return what a function finds in the folds as they are now; they stand still meanwhile."""
        with self._lock:
            return question(self._view, self._look())

    # --- both threads -------------------------------------------------------------------------------------------------

    def _keep_going(self, work: Callable[[], None]) -> None:
        """Do the work of a thread until it is told to stop; what ends it is shown, and it is begun anew."""
        while not self._stopping:
            try:
                work()
            except (TelemetryError, OSError) as error:
                self._failed(str(error))
            except Exception as error:  # noqa: BLE001 - a bug of ours or of a fold: the page must tell it, not freeze
                _LOG.exception("the page of %s failed and starts over", self._origin.name)
                self._failed(f"{type(error).__name__}: {error}")
            if not self._stopping:
                self._pause(_AGAIN_S)

    def _failed(self, text: str) -> None:
        with self._news:
            self._failure = text
            self._news.notify_all()

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with self._news:
            while not self._stopping and (left := deadline - time.monotonic()) > 0:
                self._news.wait(left)

    # --- reading ------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        with self._news:
            if self._portions:  # not the first time: what was folded would be folded twice
                self._start_over()
        for portion in self._origin.portions(lambda: self._stopping):
            with self._news:
                self._fold(portion)
                self._news.notify_all()

    def _start_over(self) -> None:
        self._view = RunView(self._panels)
        self._pulse = Pulse()
        self._recent = Recent()
        self._phase = Phase.HISTORY
        self._stored: int | None = None
        self._warnings: tuple[str, ...] = ()
        self._portions = 0
        self._failure = ""
        self._generation += 1

    def _fold(self, portion: Portion) -> None:
        self._portions += 1
        self._failure = ""
        self._view.feed(portion.events)
        for event in portion.events:
            self._pulse.feed(event)
        self._recent.extend(portion.events)
        self._phase = portion.phase
        self._stored = portion.stored if portion.stored is not None else self._stored
        self._warnings = portion.warnings
        self._view.reader_found(ReaderFindings(portion.warnings, portion.missing, dict(portion.unknown)))

    # --- publishing ---------------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        published = _Published(0)
        due = 0.0
        while not self._stopping:
            with self._news:
                if due > time.monotonic():
                    self._news.wait(due - time.monotonic())
                if time.monotonic() < due or self._stopping:
                    continue
                started = time.monotonic()
                generation = self._generation
                if generation != published.generation:
                    published = _Published(generation)
                shown = self._changed(published.versions)
                state = self._state()
            # Figures never change once they are made: the reader may go on while they are compared.
            operations = published.take(shown)
            vitals = [state[name] for name in ("life", "failure", "phase", "folded")]
            if operations or vitals != published.vitals:
                published.vitals = vitals
                whole = {"panels": dict(published.documents), "order": self._order, "state": state}
                body = _encode({"panels": operations, "state": state})
                self.ring.publish(body, whole, start_over=not published.messages)
                published.messages += 1
            due = time.monotonic() + min(max(_SHARE * (time.monotonic() - started), _SHORTEST_S), _LONGEST_S)

    def _changed(self, versions: dict[str, int]) -> list[PanelFigures]:
        """Return the panels that have something to show and have changed since `versions`, and note their versions."""
        look = self._look()
        found = []
        now = self._view.versions()
        for panel in self._view.panels:
            if panel.always or now[panel.id] != versions.get(panel.id, 0):
                versions[panel.id] = now[panel.id]
                found.append(self._view.panel_figures(panel.id, look))
        return found

    def _look(self, window: Window | None = None, points: int = POINTS) -> Look:
        now = self._clock.wall_ns() if self._live else None
        return Look(self._view.facts, window or Window(), points, ROWS, now)

    def _state(self) -> dict[str, Any]:
        facts = self._view.facts
        now = self._clock.wall_ns() if self._live else facts.last_ns
        liveness = self._pulse.at(now, self._phase)
        return {
            "phase": self._phase.value,
            "life": liveness.life.value,
            "text": liveness.text,
            "silent_s": liveness.silent_s,
            "unheard_s": liveness.unheard_s,
            "folded": self._recent.count,
            "stored": self._stored,
            "failure": self._failure,
            "warnings": list(self._warnings[:20]),
            "warning_count": len(self._warnings),
            "run_id": facts.run_id,
            "name": facts.name,
            "last_ms": facts.last_ns / 1e6,
            "now_ms": now / 1e6,
            "types": dict(self._recent.types.most_common(200)),
        }


@dataclass(slots=True)
class _Published:
    """What viewers know. The publishing thread owns it.

    Attributes:
        generation: the folding that it is of: another one begins where the reading was begun anew.
        versions: version of each panel.
        documents: each panel as values for JSON.
        vitals: what of the state is worth a message of its own.
        messages: messages so far.
    """

    generation: int
    versions: dict[str, int] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    vitals: list[Any] = field(default_factory=list)
    messages: int = 0

    def take(self, shown: Sequence[PanelFigures]) -> list[Any]:
        """Return the operations that lead to new figures, by panel, and keep their documents."""
        found: list[Any] = []
        for one in shown:
            name = one.panel.id
            new, old = panel_document(one), self.documents.get(name)
            operations = [[[], new]] if old is None else changes(old, new)
            if operations:
                found.append([name, operations])
                self.documents[name] = new
        return found


def panel_document(shown: PanelFigures) -> Any:
    """Return a panel with its figures as values for JSON."""
    return {
        "id": shown.panel.id,
        "title": shown.panel.title,
        "hint": shown.panel.hint,
        "reads": {name: list(fields) for name, fields in shown.panel.reads.items()},
        "absence": shown.absence,
        "footer": document(shown.footer),
        "figures": [document(figure) for figure in shown.figures],
    }


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
