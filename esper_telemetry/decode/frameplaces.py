"""Which frames of a closed segment hold nothing of the batches and steps that are wanted, as its index states it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.recordfile.index import stated_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esper_telemetry.decode.event_filter import Filter
    from esper_telemetry.decode.types import Origin
    from esper_telemetry.recordfile import Segment

_FOREVER = (1 << 64) - 1


def frames_elsewhere(segment: Segment, origin: Origin, wanted: Filter) -> frozenset[int]:
    """Return the offsets of frames that need not be read.

    The index knows the contexts of events. What a payload has under the name of a field of Context counts instead of
    it, and the rows of a block of steps have places of their own: frames with such events are read.

    Args:
        segment: the segment.
        origin: the same, for its types.
        wanted: which events.
    """
    spans = {"batch_idx": wanted.batches, "step": wanted.steps}
    asked = {name: span for name, span in spans.items() if span is not None}
    if not asked or segment.index is None:
        return frozenset()
    elsewhere = set()
    for info in segment.index.frames:
        ranges = stated_ranges(info)._asdict()
        for name, (first, last) in asked.items():
            known = ranges[name]
            apart = known is None or known[1] < (first or 0) or known[0] > (_FOREVER if last is None else last)
            if apart and _by_context(info.type_counts, name, origin, wanted):
                elsewhere.add(segment.offset + info.offset)
    return frozenset(elsewhere)


def _by_context(type_ids: Iterable[int], name: str, origin: Origin, wanted: Filter) -> bool:
    """Tell whether the context alone decides where events of these types happened."""
    kinds = [origin.kinds[one] for one in type_ids if one in origin.block_ids or wanted.wants(origin.kinds[one])]
    return all(kind is not origin.block_kind and name not in kind.hidden_context for kind in kinds)
