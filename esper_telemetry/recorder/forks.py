"""Forks of a process that records: which runs are notified of one, and what makes the stream of a child end in time.

A child of multiprocessing leaves by os._exit, past atexit, so its stream is closed by a finalizer of multiprocessing.
Any other child leaves through atexit, or is killed, and then it loses at most one flush interval.
"""

from __future__ import annotations

import os
import sys
import weakref
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_AFTER_ALL_OTHERS = -1000  # of the finalizers of multiprocessing: they may emit


class Forkable(Protocol):
    """What is notified of forks of its process."""

    has_children: bool

    def become_child(self) -> None:
        """This process is a fork child."""


# A plain set, because a WeakSet removes in Python: an exception that arrives in there is swallowed by the interpreter.
_alive: set[weakref.ref[Forkable]] = set()


def watch_forks(one: Forkable) -> None:
    """Tell `one` of every fork, for as long as something else refers to it."""
    _alive.add(weakref.ref(one, _alive.discard))


def close_before_exit(close: Callable[[], None]) -> None:
    """Have `close` called when this process ends as a child of multiprocessing; for others atexit does it."""
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, close, exitpriority=_AFTER_ALL_OTHERS)


def _living() -> list[Forkable]:
    return [one for ref in list(_alive) if (one := ref()) is not None]


def _note_children() -> None:
    for one in _living():
        one.has_children = True


def _become_children() -> None:
    for one in _living():
        one.become_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_note_children, after_in_child=_become_children)
