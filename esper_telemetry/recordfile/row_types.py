"""The types of the rows that the blocks of steps in a frame hold: they are declared like those of events.

A StepBlock names its rows' type by its full name; no event of a frame has it. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from esper_telemetry.recordfile.frame_events import parse_events
from esper_telemetry.v1 import steps_pb2

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

STEP_BLOCK = steps_pb2.StepBlock.DESCRIPTOR.full_name


def row_types(raw: bytes, used: Collection[int], types: Mapping[int, str]) -> set[int]:
    """Return the ids of the types that rows in a frame have.

    Args:
        raw: the decompressed frame.
        used: type ids of its events.
        types: full names by type id; rows of other types have no id.
    """
    blocks = {number for number in used if types.get(number) == STEP_BLOCK}
    if not blocks:
        return set()
    names = set()
    for event in parse_events(raw):
        if event.type_id in blocks:
            try:
                names.add(steps_pb2.StepBlock.FromString(event.payload).row_type)
            except DecodeError:  # a reader counts it as damaged
                continue
    return {number for number, name in types.items() if name in names}
