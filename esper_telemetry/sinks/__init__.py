"""WHERE it goes in this process: file, memory, fan-out. One `write(batch)`, so wrappers are tiny."""

from esper_telemetry.recordfile import HeaderInfo, RunStream, Vanished, list_streams
from esper_telemetry.recordfile.paths import path_component
from esper_telemetry.sinks.base import Sink
from esper_telemetry.sinks.child import CHILD_STREAM, MOST_CHILDREN, ChildSink, stream_is_written
from esper_telemetry.sinks.fanout import FanoutSink
from esper_telemetry.sinks.file import SYNC_POLICIES, FileSink
from esper_telemetry.sinks.memory import MemorySink
from esper_telemetry.sinks.tally import remove_tally, tallied

__all__ = [
    "CHILD_STREAM",
    "MOST_CHILDREN",
    "SYNC_POLICIES",
    "ChildSink",
    "FanoutSink",
    "FileSink",
    "HeaderInfo",
    "MemorySink",
    "RunStream",
    "Sink",
    "Vanished",
    "list_streams",
    "path_component",
    "remove_tally",
    "stream_is_written",
    "tallied",
]
