"""What tells misuse of a bank after its first record: broken references, second threads, and the ledger of both.

Holding references to step tensors is free, and wrong once somebody writes into them. So
the first windows (flush to flush) and then one in 64 are watched: a version counter per
tensor is kept and compared before the tensors are used. Nothing here touches a device.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from esper_telemetry.counters.entry import STEP_FIELDS, Entry, names_of, parts_of
from esper_telemetry.errors import CounterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


_LOG = logging.getLogger("esper_telemetry.counters")

GuardMode: TypeAlias = Literal["auto", "always", "off"]

_FIRST_WINDOWS = 4
_THEN_ONE_IN = 64


class Misuse:
    """Ledger of what was done wrong after the first record: counted, said once a kind, raised when strict."""

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.counts: Counter[str] = Counter()

    def note(self, kind: str, message: str) -> None:
        """Count `message` under `kind` and log the first of its kind; never raise, not even when strict."""
        self.counts[kind] += 1
        if self.counts[kind] == 1:
            _LOG.warning("%s", message)

    def report(self, kind: str, message: str, *, level: int = logging.ERROR, count: int = 1) -> None:
        """Count `message` under `kind`; raise it when strict, else log the first of its kind."""
        first = kind not in self.counts
        self.counts[kind] += count
        if self.strict:
            raise CounterError(message)
        if first:
            _LOG.log(level, "%s", message)


class Guard:
    """Watches the tensors of some windows for writes after they were recorded.

    Args:
        mode: "auto" watches the first 4 windows and then 1 in 64; "always"; "off".
        misuse: where findings go.
    """

    def __init__(self, mode: GuardMode, misuse: Misuse) -> None:
        if mode not in ("auto", "always", "off"):
            raise CounterError(f"guard {mode!r} is unknown; use 'auto', 'always' or 'off'")
        self.mode = mode
        self.watching = mode != "off"
        self._misuse = misuse
        self._windows = 0
        self._versions: list[list[int | None]] = []
        self._owner: int | None = None

    def note(self, entry: Entry) -> None:
        """Remember the state of an entry's tensors, just recorded."""
        self._versions.append([version_of(tensor) for tensor in parts_of(entry)])

    def owned(self, call: str) -> bool:
        """Tell whether this thread is the one that uses the bank: the first one is."""
        me = threading.get_ident()
        if self._owner is None:
            self._owner = me
        if self._owner == me:
            return True
        self._misuse.report(
            "thread",
            f"{call}: called from a second thread ({threading.current_thread().name}); a bank belongs to one thread,"
            " the one that trains. Take snapshots there and pass them on: they are plain values",
        )
        return False

    def next_window(self) -> None:
        """Begin a window: decide whether it is watched."""
        self._versions.clear()
        self._windows += 1
        if self.mode == "auto":
            self.watching = self._windows < _FIRST_WINDOWS or self._windows % _THEN_ONE_IN == 0

    def overwritten(self, entries: Sequence[Entry]) -> set[int]:
        """Return the numbers of the entries that were written into since they were noted.

        A buffer that two entries share is only warned of: its content may be constant, or
        the static output of a CUDA graph, whose replays no version counter shows.
        """
        spoiled: set[int] = set()
        owners: dict[tuple[Any, ...], int] = {}
        for number, (entry, versions) in enumerate(zip(entries, self._versions, strict=False)):
            role = entry[0] if len(entry) != STEP_FIELDS else ""
            for i, (tensor, version) in enumerate(zip(parts_of(entry), versions, strict=True)):
                if version_of(tensor) != version:
                    spoiled.add(number)
                    self._report_write(names_of(entry)[i], number)
                    continue
                first = owners.setdefault((role, i, storage_of(tensor)), number)
                if first != number and bool(getattr(tensor, "nbytes", 0)):
                    self._report_shared(names_of(entry)[i], first, number)
        return spoiled

    def _report_write(self, what: str, number: int) -> None:
        self._misuse.report(
            "overwritten",
            f"{what} was written in place after record {number} of this window and before the flush. That record is"
            " left out, and from here on the bank copies what it is given; better give each step a tensor of its own,"
            " or use mode='inline'",
        )

    def _report_shared(self, what: str, first: int, number: int) -> None:
        self._misuse.report(
            "shared",
            f"{what}: records {first} and {number} of this window are the same memory. A static buffer (of a CUDA graph"
            " or an environment)? Then use mode='inline' or clone it; if it never changes, all is well",
            level=logging.WARNING,
        )


def version_of(tensor: Tensor) -> int | None:
    """Return how often `tensor` was written in place; None for an inference tensor, which does not count."""
    try:
        return tensor._version  # noqa: SLF001 - torch documents no public name
    except (RuntimeError, AttributeError):  # an inference tensor; what is no tensor is found by the fold
        return None


def storage_of(tensor: Tensor) -> int:
    """Return what tells one tensor's memory from another's."""
    try:
        return tensor.data_ptr() or id(tensor)
    except (RuntimeError, AttributeError):  # a wrapper without storage
        return id(tensor)
