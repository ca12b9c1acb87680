"""KEEP it: the record file (`*.esr.zst`), written and read. FORMAT.md is its specification.

Layers, each knowing only those before it: layout (bytes), frame (zstd), header, piece,
index, writer, scan, segment, reader. zstandard is imported here and nowhere else.
"""

from esper_telemetry.recordfile.damage import Damage, Truncation
from esper_telemetry.recordfile.header import HeaderInfo, random_id
from esper_telemetry.recordfile.index import FrameRef
from esper_telemetry.recordfile.layout import Skip, SkipReason
from esper_telemetry.recordfile.paths import SUFFIX, SegmentName, list_run
from esper_telemetry.recordfile.reader import RecordReader
from esper_telemetry.recordfile.segment import Segment
from esper_telemetry.recordfile.selection import Selection
from esper_telemetry.recordfile.writer import RecordWriter

__all__ = [
    "SUFFIX",
    "Damage",
    "FrameRef",
    "HeaderInfo",
    "RecordReader",
    "RecordWriter",
    "Segment",
    "SegmentName",
    "Selection",
    "Skip",
    "SkipReason",
    "Truncation",
    "list_run",
    "random_id",
]
