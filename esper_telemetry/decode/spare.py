"""A header for a file that has lost its own: that of a segment of the same stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from esper_telemetry.decode.streams import SegmentPlace
    from esper_telemetry.v1 import record_pb2


def spare_header(path: Path, places: Iterable[SegmentPlace]) -> record_pb2.Header | None:
    """Return a header to assume for a file, or None."""
    del path, places
    return None
