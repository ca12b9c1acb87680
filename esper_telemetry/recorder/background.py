"""What a run's own threads do beside the program: who they are, what became of them, and what they say by themselves.

The writer thread reports losses and, in a silent run, beats; companions sample the system and read artifacts. A fork
child has none of them, and its writer thread does not beat.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from esper_telemetry.errors import SinkError
from esper_telemetry.recorder.heartbeat import Heartbeat, signs_of_life
from esper_telemetry.v1.process_pb2 import RunHeartbeat

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from esper_telemetry.recorder.core import Core


class Worker(Protocol):
    """Who has a thread that works for a run."""

    @property
    def name(self) -> str:
        """What it does, for people."""

    @property
    def error(self) -> BaseException | None:
        """What it died of, or None."""

    def stop(self, timeout: float) -> None:
        """End it, in `timeout` seconds at most."""


class Background:
    """The threads of one run.

    Args:
        core: of the run.

    Attributes:
        heartbeat: decides when the program has been silent for long.
    """

    def __init__(self, core: Core) -> None:
        self.heartbeat = Heartbeat()
        self._core = core
        self._own_bytes: Counter[str] = Counter()
        self._companions: list[Worker] = []
        self._ended = False

    def accompany(self, companion: Worker) -> None:
        """Watch over a thread that works for the run, and stop it when the run ends."""
        self._companions.append(companion)

    def stop(self, timeout: float) -> None:
        """End the companions, before the last event; in `timeout` seconds for all of them together.

        From here on the recorder says nothing by itself: what it could say stands in the last event.
        """
        self._ended = True
        deadline = time.monotonic() + timeout
        for companion in self._companions:
            companion.stop(max(0.0, deadline - time.monotonic()))

    @property
    def deaths(self) -> dict[str, str]:
        """What each companion that died of itself did, and what it died of."""
        return {one.name: repr(one.error) for one in self._companions if one.error is not None}

    def check(self) -> None:
        """Raise the death of a companion.

        Raises:
            SinkError: one has died.
        """
        for name, error in self.deaths.items():
            raise SinkError(f"the {name} has died: {error}; what it did is missing from here on")

    def beat(self) -> None:
        """Record a heartbeat if one is due. Writer thread only."""
        idle = self.heartbeat.due(self._core.buffer.stored_bytes - self._own_bytes.total())
        if idle is not None:
            self.emit("heartbeat", RunHeartbeat(idle_s=idle, **signs_of_life()))

    def emit(self, source: str, message: Message) -> None:
        """Record what a thread of the recorder has to say by itself; it breaks no silence of the program's.

        Args:
            source: who says it: one thread for each.
            message: the event.
        """
        plan = self._core.plan(type(message), b"")
        if self._ended or not self._core.wants(plan.type):
            return
        payload = message.SerializeToString()
        size = plan.envelope.room + len(payload)
        self._own_bytes[source] += size  # before it is stored: never does it look like an event of the program's
        if not self._core.buffer.append(plan, payload):
            self._own_bytes[source] -= size
