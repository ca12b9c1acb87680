"""Values outside the range that their schema states: which field of which event, how often, and the first one.

Memory is bounded by types and fields. Rows of blocks and fields of nested messages are looked at like any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esper_telemetry.decode.statistics import flatten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esper_telemetry.decode.event import Event
    from esper_telemetry.v1.options_pb2 import FieldMeta


@dataclass(slots=True)
class OutOfRange:
    """A field with values that its schema does not allow.

    Attributes:
        path: the file.
        type: short name of the event.
        name: the field; of nested messages and maps "heads.entropy".
        value: the first such value.
        seq: sequence number of its event.
        rank: rank of its event.
        allowed: what the schema states, in words.
        events: how often a value was outside.
    """

    path: str
    type: str
    name: str
    value: float
    seq: int
    rank: int
    allowed: str
    events: int = 0

    def __str__(self) -> str:
        more = f", and {self.events - 1:,} more" if self.events > 1 else ""
        place = f"event {self.seq:,} of rank {self.rank}"
        return f"{self.type} {self.name} = {self.value:g} is out of its range, {self.allowed}: {place}{more}"


class RangeCheck:
    """Looks at events, one by one.

    Attributes:
        found: what was outside its range, by file, type and field.
    """

    def __init__(self) -> None:
        self.found: dict[tuple[str, str, str], OutOfRange] = {}
        self._limits: dict[int, tuple[Mapping[str, FieldMeta], dict[str, FieldMeta | None]]] = {}

    def look(self, event: Event) -> None:
        """Look at the values of an event."""
        metas = event.metas
        # By identity: the annotations of a type are one object, which is kept here so that no other takes its place.
        _, known = self._limits.setdefault(id(metas), (metas, {}))
        for name, value in flatten(event.data):
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                if name not in known:
                    known[name] = _stated(metas, name)
                meta = known[name]
                if meta is not None and not _inside(value, meta):
                    self._note(event, name, value, meta)

    def _note(self, event: Event, name: str, value: float, meta: FieldMeta) -> None:
        key = event.path, event.full_name, name
        if key not in self.found:
            allowed = describe_range(meta)
            self.found[key] = OutOfRange(event.path, event.type, name, value, event.seq, event.rank, allowed)
        self.found[key].events += 1


def describe_range(meta: FieldMeta) -> str:
    """Return what a schema allows, in words: "0 to 1", "from 0", "finite numbers"."""
    low, high = meta.HasField("min"), meta.HasField("max")
    if low and high:
        stated = f"{meta.min:g} to {meta.max:g}"
    elif low or high:
        stated = f"from {meta.min:g}" if low else f"up to {meta.max:g}"
    else:
        return "finite numbers"
    return f"{stated} or not finite" if meta.allow_non_finite else stated


def _stated(metas: Mapping[str, FieldMeta], name: str) -> FieldMeta | None:
    """Return the annotation of a field; the values of a map have that of the map."""
    return metas.get(name) or metas.get(name.partition(".")[0])


def _inside(value: Any, meta: FieldMeta) -> bool:
    if not math.isfinite(value):
        return meta.allow_non_finite
    return not ((meta.HasField("min") and value < meta.min) or (meta.HasField("max") and value > meta.max))
