"""The threads of a run beside its writer: none dies unseen, and what they record is counted apart from the program's.

They sample the system, read artifacts and feed a user's sinks. A death is logged once, kept in `error` and shown by the
run's `stats()`; it never ends the run. Each is a daemon and ends with the run within a bounded time. A fork child has
none of them.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from esper_telemetry.errors import SinkError
from esper_telemetry.recorder.notices import write_line
from esper_telemetry.schema import event_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from esper_telemetry.recorder.buffer import Buffer
    from esper_telemetry.recorder.plans import Entry
    from esper_telemetry.schema import EventType


class Companion:
    """A thread that does one thing until it is asked to stop.

    Args:
        name: what it does, for people: "system sampler".
        work: called in the thread with an event that is set when it has to return.
        ask: called by `stop` after that event is set, to wake `work` up.
        patience: seconds that `stop` waits at most, whatever it is given.

    Attributes:
        name: as given.
        error: what ended it before it was asked to stop, or None.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[threading.Event], None],
        *,
        ask: Callable[[], None] = lambda: None,
        patience: float = math.inf,
    ) -> None:
        self.name = name
        self.error: BaseException | None = None
        self._work = work
        self._ask = ask
        self._patience = patience
        self._stopping = threading.Event()
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name=f"esper-telemetry {name}", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Ask the thread to end, and wait for at most `timeout` seconds."""
        if os.getpid() != self._pid:
            return  # a fork child has a copy of this object, and no thread
        self._stopping.set()
        self._ask()
        if self._thread is not threading.current_thread():
            self._thread.join(min(timeout, self._patience))

    def _run(self) -> None:
        try:
            self._work(self._stopping)
        except BaseException as error:  # noqa: BLE001 - whatever ends it is reported
            self.error = error
            write_line(logging.WARNING, f"the {self.name} has died, and the run goes on without it: {error!r}")


class Worker(Protocol):
    """An object that has a thread which works for a run."""

    @property
    def name(self) -> str:
        """What it does, for people."""

    @property
    def error(self) -> BaseException | None:
        """What it died of, or None."""

    def stop(self, timeout: float) -> None:
        """End it, in `timeout` seconds at most."""


class EventTarget(Protocol):
    """What the threads need of the run that they work for."""

    @property
    def buffer(self) -> Buffer:
        """The buffer of this process."""

    def entry_of(self, message: Message) -> Entry:
        """Return a message as the buffer takes it, without a context."""

    def wants(self, one: EventType) -> bool:
        """Return whether events of this type are recorded at the level in force."""


class Background:
    """The threads of one run.

    Args:
        run: where they record.
    """

    def __init__(self, run: EventTarget) -> None:
        self._run = run
        self._own_bytes: Counter[str] = Counter()
        self._companions: list[Worker] = []
        self._ended = False

    def accompany(self, companion: Worker) -> None:
        """Watch over a thread that works for the run, and stop it when the run ends."""
        self._companions.append(companion)

    def stop(self, timeout: float) -> None:
        """End the companions, before the last event; in `timeout` seconds for all of them together.

        From here on the recorder adds no event by itself: what it would report is in the last event.
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

    @property
    def stored_by_program(self) -> int:
        """Bytes that the program itself has stored in the buffer so far: it grows with each of its events."""
        return self._run.buffer.stored - self._own_bytes.total()

    def emit(self, source: str, message: Message) -> None:
        """Record an event of the recorder's own; it is none of the program's, and breaks no silence of it.

        Args:
            source: which thread records it: one name for each.
            message: the event.
        """
        if self._ended or not self._run.wants(event_type(type(message))):
            return
        entry = self._run.entry_of(message)
        size = entry.kind.held + entry.extra
        self._own_bytes[source] += size  # before it is stored: never does it look like an event of the program's
        if not self._run.buffer.append(*entry):
            self._own_bytes[source] -= size
