"""A run at a collector as an origin of events: every durable frame from the first one on, then what is added."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from esper_telemetry.decode import Filter, Reference
from esper_telemetry.decode.live import LiveTail
from esper_telemetry.ui.origin import Phase, Portion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from esper_telemetry.decode import Event
    from esper_telemetry.decode.live import LiveSource

_LOOK_S = 5.0
_PORTION = 2000


class CollectorOrigin:
    """One run at a collector.

    Args:
        source: the collector.
        run_id: the run.
        durable: last durable sequence number of each producer when the page was opened: reaching it ends the history.
    """

    def __init__(self, source: LiveSource, run_id: str, durable: Mapping[bytes, int]) -> None:
        self._source = source
        self._run_id = run_id
        self._durable = dict(durable)
        self._wake = threading.Event()
        self._live: LiveTail | None = None

    @property
    def name(self) -> str:
        """The collector and the run."""
        return f"{self._source.address}/{self._run_id}"

    def portions(self, stop: Callable[[], bool]) -> Iterator[Portion]:
        """Yield every durable event, then every event that is added, until `stop` is true.

        Raises:
            RecordError: the collector refuses, or has been away for too long.
        """
        live = self._live = LiveTail(self._source, self._run_id, Filter())
        stored = sum(self._durable.values())
        reached: dict[bytes, int] = {}
        phase = Phase.HISTORY if stored else Phase.LIVE
        while not stop():
            for events in live.follow(sleep=self._pause):
                for at in range(0, len(events), _PORTION):
                    yield self._portion(events[at : at + _PORTION], phase, live, stored)
                for event in events:
                    reached[event.producer_id] = event.seq
                if phase is Phase.HISTORY and all(reached.get(key, 0) >= last for key, last in self._durable.items()):
                    phase = Phase.LIVE
                    yield self._portion([], phase, live, stored)
                if stop():
                    return
            if stop():
                return
            yield self._portion([], Phase.ENDED, live, stored)
            phase = Phase.LIVE
            self._pause(_LOOK_S)  # a resumed attempt is a new producer of the same run

    def wake(self) -> None:
        """End a wait soon, the one for the collector too."""
        self._wake.set()
        if self._live is not None:
            self._live.stop()

    def last(self, wanted: Filter, count: int) -> list[Event]:
        """Return the last `count` events that are wanted, asked of the collector.

        Raises:
            RecordError: it does not answer or refuses.
        """
        return LiveTail(self._source, self._run_id, wanted).last(count)

    def reference(self) -> Reference:
        """Return an empty reference: a collector is not asked for descriptors, and events carry their own units."""
        return Reference()

    def _portion(self, events: list[Event], phase: Phase, live: LiveTail, stored: int) -> Portion:
        return Portion(events, phase, stored, tuple(live.warnings), dict(live.unknown))

    def _pause(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()
