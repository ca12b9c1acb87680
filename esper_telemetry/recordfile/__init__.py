"""KEEP it: the record file (`*.esr.zst`), written and read. FORMAT.md is its specification.

Layers, each knowing only those before it: layout (bytes), frame (zstd), parity, header, piece, index, walk (the
pieces of a file), frame_events (the events of a frame), segment, reader, writer; then follow and run_folder; then
keep, place, rebuild (recover, merge), filtered, verification. zstandard is imported here and nowhere else.
"""

from esper_telemetry.recordfile.append import Gone
from esper_telemetry.recordfile.damage import Damage, Truncation
from esper_telemetry.recordfile.filtered import Filtered, filter_record
from esper_telemetry.recordfile.follow import Followed, StreamFollower, follow
from esper_telemetry.recordfile.frame_events import Envelope, EventColumns
from esper_telemetry.recordfile.header import HeaderInfo, random_id
from esper_telemetry.recordfile.index import FrameRef
from esper_telemetry.recordfile.layout import Skip, SkipReason
from esper_telemetry.recordfile.paths import SUFFIX, SegmentName
from esper_telemetry.recordfile.reader import PayloadReader, RecordReader
from esper_telemetry.recordfile.rebuild import Merge, Recovery, merge, recover
from esper_telemetry.recordfile.run_folder import (
    FolderContents,
    PassedOver,
    RunStream,
    list_run,
    list_streams,
    look_into,
    prune,
)
from esper_telemetry.recordfile.segment import Segment
from esper_telemetry.recordfile.selection import Selection
from esper_telemetry.recordfile.verification import Verification, verify
from esper_telemetry.recordfile.writer import RecordWriter, Vanished

__all__ = [
    "SUFFIX",
    "Damage",
    "Envelope",
    "EventColumns",
    "Filtered",
    "FolderContents",
    "Followed",
    "FrameRef",
    "Gone",
    "HeaderInfo",
    "Merge",
    "PassedOver",
    "PayloadReader",
    "RecordReader",
    "RecordWriter",
    "Recovery",
    "RunStream",
    "Segment",
    "SegmentName",
    "Selection",
    "Skip",
    "SkipReason",
    "StreamFollower",
    "Truncation",
    "Vanished",
    "Verification",
    "filter_record",
    "follow",
    "list_run",
    "list_streams",
    "look_into",
    "merge",
    "prune",
    "random_id",
    "recover",
    "verify",
]
