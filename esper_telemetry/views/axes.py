"""Which position an event has on an x axis: taken from its own context, never from a counter of the view.

A position is stored as one number. An epoch inside a batch is stored as both of its counters, because how many
epochs a batch has is only known later; `Places` turns it into a share of the batch when it is drawn.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from esper_telemetry.views.figure import Axis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EPOCHS = 1 << 20
_SECOND = 1e-9


class XKind(StrEnum):
    """What the x axis of a line counts."""

    EPOCH = "epoch"
    BATCH = "batch_idx"
    GLOBAL_EPOCH = "global_epoch"
    STEP = "step"
    EPISODE = "episode"
    INNER_EPOCH = "inner_epoch"
    TIME = "time"


BY_BATCH = (XKind.BATCH, XKind.GLOBAL_EPOCH, XKind.STEP, XKind.EPISODE)
"""Order of preference for what happens once in a batch."""

BY_EPOCH = (XKind.EPOCH, XKind.STEP, XKind.GLOBAL_EPOCH, XKind.INNER_EPOCH, XKind.EPISODE, XKind.BATCH)
"""Order of preference for what happens once in an epoch."""

BY_STEP = (XKind.STEP, XKind.EPOCH, XKind.BATCH, XKind.GLOBAL_EPOCH, XKind.EPISODE, XKind.INNER_EPOCH)
"""Order of preference for what a trainer names itself."""

BY_TIME: tuple[XKind, ...] = ()
"""For what has no place in training."""


def position(data: Mapping[str, Any], time_ns: int, order: Sequence[XKind]) -> tuple[XKind, float]:
    """Return what an event is placed by, and its stored position.

    Args:
        data: payload and context of the event.
        time_ns: its time, nanoseconds since 1970 UTC.
        order: which counters to take, the best one first; time is the last resort.
    """
    for kind in order:
        if kind is XKind.EPOCH:
            inner, outer = data.get("inner_epoch"), data.get("global_epoch")
            if inner is not None and outer is not None:
                return kind, outer * _EPOCHS + inner
        else:
            value = data.get(kind.value)
            if value is not None:
                return kind, value
    return XKind.TIME, time_ns * _SECOND


def outer_of(stored: float) -> int:
    """Return the batch of a stored position of kind EPOCH."""
    return int(stored) // _EPOCHS


class Places:
    """Turns stored positions into those that are drawn.

    Attributes:
        epochs: largest inner epoch of the run so far.
    """

    def __init__(self) -> None:
        self.epochs = 1

    def see(self, inner_epoch: int) -> None:
        """Learn from an event how many epochs a batch has at least."""
        self.epochs = max(self.epochs, inner_epoch)

    def place(self, kind: XKind, stored: float) -> float:
        """Return the drawn position: for an epoch, batches before it and the share of its own."""
        if kind is not XKind.EPOCH:
            return stored
        outer, inner = divmod(int(stored), _EPOCHS)
        return outer - 1 + inner / self.epochs


_LABELS = {
    XKind.EPOCH: "batches completed",
    XKind.BATCH: "batch",
    XKind.GLOBAL_EPOCH: "global epoch",
    XKind.STEP: "step",
    XKind.EPISODE: "episode",
    XKind.INNER_EPOCH: "epoch",
    XKind.TIME: "time (UTC)",
}


def x_axis(kind: XKind) -> Axis:
    """Return the axis of a kind of positions."""
    return Axis(_LABELS[kind], times=kind is XKind.TIME)
