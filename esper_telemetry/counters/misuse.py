"""What was done wrong with a bank after its first record: counted by kind, logged once a kind, raised when strict.

The counts go into the snapshot of the batch in which it happened (`cells.MISUSES`), and so
into the record. Nothing here touches a device.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter

from esper_telemetry.errors import CounterError

_LOG = logging.getLogger("esper_telemetry.counters")


class Misuse:
    """Ledger of what was done wrong."""

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.counts: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()

    def note(self, kind: str, message: str, *, level: int = logging.WARNING, count: int = 1) -> None:
        """Count `message` under `kind` and log the first of its kind; never raise, not even when strict."""
        first = kind not in self.counts
        self.counts[kind] += count
        if first:
            _LOG.log(level, "%s", message)

    def report(self, kind: str, message: str, *, level: int = logging.ERROR, count: int = 1) -> None:
        """Count `message` under `kind`; raise it when strict, else log the first of its kind.

        Raises:
            CounterError: the bank is strict.
        """
        if self.strict:
            self.counts[kind] += count
            raise CounterError(message)
        self.note(kind, message, level=level, count=count)

    def take(self) -> dict[str, int]:
        """Return the counts since this was last asked."""
        new = {kind: count - self._taken[kind] for kind, count in self.counts.items() if count != self._taken[kind]}
        self._taken = Counter(self.counts)
        return new


class Owner:
    """Which thread a bank belongs to: the first that uses it.

    Args:
        misuse: where others are reported.
    """

    def __init__(self, misuse: Misuse) -> None:
        self._misuse = misuse
        self.ident: int | None = None

    def is_here(self, call: str) -> bool:
        """Tell whether this thread is the owner; report it if not."""
        me = threading.get_ident()
        if self.ident is None:
            self.ident = me
        if self.ident == me:
            return True
        self._misuse.report(
            "thread",
            f"{call}: called from a second thread ({threading.current_thread().name}); a bank belongs to one thread,"
            " the one that trains. Take snapshots there and pass them on: they are plain values",
        )
        return False
