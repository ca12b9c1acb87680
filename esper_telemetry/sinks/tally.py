"""Counts the events of child processes that have no stream: a small file in the run folder, one number for each child.

A child appends its slot once and rewrites it alone, so nobody waits for anybody. The run's own process adds the
slots up and reports the sum in its stream; the file itself is no part of the record.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING

from esper_telemetry.errors import SinkError

if TYPE_CHECKING:
    from pathlib import Path

TALLY_NAME = "children.count"
_SLOT = struct.Struct("<QQ")  # process id, events


class ChildTally:
    """The slot of this process.

    Args:
        folder: the run folder; it is made if somebody removed it.

    Raises:
        SinkError: the file cannot be written.

    Attributes:
        first: no other child has a slot.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / TALLY_NAME
        self._events = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab", buffering=0) as file:
                file.write(_SLOT.pack(os.getpid(), 0))
                self._at = file.tell() - _SLOT.size
            self._file = self._path.open("r+b", buffering=0)
        except OSError as error:
            raise SinkError(f"{self._path}: cannot count: {error}; check folder and permissions") from error
        self.first = self._at == 0

    def add(self, events: int) -> None:
        """Count `events` more.

        Raises:
            SinkError: the operating system refused; nothing is counted.
        """
        try:
            self._file.seek(self._at)
            self._file.write(_SLOT.pack(os.getpid(), self._events + events))
        except OSError as error:
            raise SinkError(f"{self._path}: cannot count: {error}; check the disk") from error
        self._events += events

    def close(self) -> None:
        """Let go of the file; the count stays in it."""
        self._file.close()


def tallied(folder: Path) -> int:
    """Return the events that children of the run in `folder` have counted; 0 if there are none."""
    try:
        data = (folder / TALLY_NAME).read_bytes()
    except OSError:
        return 0
    whole = len(data) - len(data) % _SLOT.size
    return sum(events for _, events in _SLOT.iter_unpack(data[:whole]))


def remove_tally(folder: Path) -> None:
    """Remove the counts of a run that has reported them."""
    with contextlib.suppress(OSError):
        (folder / TALLY_NAME).unlink(missing_ok=True)
