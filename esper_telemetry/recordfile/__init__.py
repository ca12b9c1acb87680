"""KEEP it: the record file (`*.esr.zst`), written and read. FORMAT.md is its specification.

Layers, each knowing only those before it: layout (bytes), frame (zstd), header, index,
writer, scan, reader. zstandard is imported here and nowhere else.
"""

from esper_telemetry.recordfile.header import HeaderInfo, random_id
from esper_telemetry.recordfile.index import FrameRef
from esper_telemetry.recordfile.paths import SUFFIX, SegmentName, list_run
from esper_telemetry.recordfile.writer import RecordWriter

__all__ = ["SUFFIX", "FrameRef", "HeaderInfo", "RecordWriter", "SegmentName", "list_run", "random_id"]
