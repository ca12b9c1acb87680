"""Whether a run lives, as a measurement: from the times of its events and heartbeats, not from how the page feels.

While the program is silent the recorder sends a heartbeat every 10 s, with where the main thread is. So silence with
heartbeats is a slow program, silence without them is a dead or frozen process, a full disk or a lost network; only the
record tells that a run has ended. The limits are those of the truth strip.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from esper_telemetry.ui.origin import Phase
from esper_telemetry.views.truth import SLOW_S, STALE_S

if TYPE_CHECKING:
    from esper_telemetry.decode import Event

_NANOS = 1_000_000_000
HEARTBEAT, FINISHED, PROGRESS = "run.heartbeat", "run.finished", "run.progress"
_SAMPLED = frozenset({HEARTBEAT, "system.sampled", "telemetry.dropped"})


class Life(StrEnum):
    """How a run fares."""

    LIVE = "live"
    SLOW = "slow"
    STALE = "stale"
    ENDED = "ended"
    GONE = "gone"
    READING = "reading"


@dataclass(frozen=True, slots=True)
class Liveness:
    """The measurement.

    Attributes:
        life: live, slow (silent, but its heartbeat comes), stale (nothing comes), ended (the record tells it), gone
            (its writer is gone without an end) or reading (history is still being read).
        silent_s: seconds since the program's last event; None before any.
        unheard_s: seconds since any event, heartbeats and samples included; None before any.
        text: the same for people, with what the last heartbeat tells.
    """

    life: Life
    silent_s: float | None
    unheard_s: float | None
    text: str


class Pulse:
    """Takes the events of a run and tells its liveness at a given time. One thread."""

    def __init__(self) -> None:
        self._spoke_ns: int | None = None
        self._heard_ns: int | None = None
        self._beat: dict[str, object] = {}
        self._outcome = ""

    def feed(self, event: Event) -> None:
        """Take the next event."""
        time_ns, name = event.time_unix_nano, event.type
        self._heard_ns = max(time_ns, self._heard_ns or 0)
        if name not in _SAMPLED:
            self._spoke_ns = max(time_ns, self._spoke_ns or 0)
            self._beat = {}
        if name == HEARTBEAT:
            self._beat = event.data
        elif name == FINISHED:
            self._outcome = str(event.data.get("outcome", "finished"))
        elif name in ("run.started", "run.resumed"):
            self._outcome = ""

    def at(self, now_ns: int, phase: Phase) -> Liveness:
        """Return the liveness at a time.

        Args:
            now_ns: nanoseconds since 1970 UTC, by the clock of the machine that reads.
            phase: where the reading is.
        """
        silent = None if self._spoke_ns is None else max(0.0, (now_ns - self._spoke_ns) / _NANOS)
        unheard = None if self._heard_ns is None else max(0.0, (now_ns - self._heard_ns) / _NANOS)
        life, text = self._judge(silent, unheard, phase)
        return Liveness(life, silent, unheard, text)

    def _judge(self, silent: float | None, unheard: float | None, phase: Phase) -> tuple[Life, str]:
        if phase is Phase.HISTORY:
            return Life.READING, "what is stored is being read"
        if self._outcome:
            return Life.ENDED, f"the run ended: {self._outcome}"
        if phase is Phase.ENDED:
            return Life.GONE, "its writer is gone, and the record does not tell how the run ended"
        if silent is None or unheard is None:
            return Life.READING, "no event has come yet"
        return self._judge_silence(silent, unheard)

    def _judge_silence(self, silent: float, unheard: float) -> tuple[Life, str]:
        if silent < SLOW_S:
            return Life.LIVE, f"last event {silent:.1f} s ago"
        if unheard >= STALE_S:
            return Life.STALE, f"nothing for {_span(unheard)}, no heartbeat either: dead, frozen or cut off"
        return Life.SLOW, f"no event for {_span(silent)}{self._where()}"

    def _where(self) -> str:
        if not self._beat:
            return ""
        if self._beat.get("main_thread_alive") is False:
            return "; its main thread has ended"
        at = self._beat.get("main_thread_at")
        return f"; its main thread is in {at}" if at else "; its process lives"


def _span(seconds: float) -> str:
    minute, hour = 60, 3600
    if seconds < minute:
        return f"{seconds:.0f} s"
    if seconds < hour:
        return f"{seconds / minute:.0f} min"
    return f"{seconds / hour:.1f} h"
