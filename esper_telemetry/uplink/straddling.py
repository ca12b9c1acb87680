"""A frame that a collector has the first part of, cut in two.

A record that was compacted has other frames than those that were sent of it before. A collector takes whole frames
only, and none that begins before what is durable there: what comes after that is made a frame of its own. Events stay
byte for byte.
"""

from __future__ import annotations

from functools import cache

from esper_telemetry.errors import RecordError
from esper_telemetry.recordfile.frame import FrameDecoder, FrameEncoder
from esper_telemetry.recordfile.full_frames import Messages, event_groups, new_frame
from esper_telemetry.recordfile.layout import Skip, SkipReason
from esper_telemetry.schema.descriptors import SchemaPool
from esper_telemetry.uplink.segment_frames import Frame

_LEVEL = 3


def rest_of(frame: Frame, first_seq: int) -> Frame | Skip:
    """Return what of a frame begins at a number that it covers.

    Args:
        frame: the frame.
        first_seq: first number that is wanted.

    Returns:
        A frame that covers the numbers from there on; where it cannot be made, the Skip in its place.
    """
    desc = frame.descriptor
    lost = Skip(first_seq, desc.last_seq, SkipReason.CORRUPT)
    try:
        raw = FrameDecoder().decode(bytes(frame.payload[: desc.compressed_size]), desc.raw_size)
        groups = event_groups(raw, desc, _no_messages(), first_seq)
    except RecordError:
        return lost
    made = new_frame(groups, (first_seq, desc.last_seq), FrameEncoder(_LEVEL).encode) if groups else None
    return lost if made is None else Frame(made.desc, memoryview(made.data), frame.schema)


@cache
def _no_messages() -> Messages:
    """Return no message class: what does not come in a block need not be parsed to be sent."""
    return Messages(SchemaPool(), {})
