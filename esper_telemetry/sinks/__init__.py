"""WHERE it goes in this process: file, memory, fan-out. One `write(batch)`, so wrappers are tiny."""

from esper_telemetry.recordfile import HeaderInfo, RunStream, Vanished, list_streams
from esper_telemetry.recordfile.paths import path_component
from esper_telemetry.sinks.base import Sink
from esper_telemetry.sinks.fanout import FanoutSink
from esper_telemetry.sinks.file import SYNC_POLICIES, FileSink
from esper_telemetry.sinks.memory import MemorySink

__all__ = [
    "SYNC_POLICIES",
    "FanoutSink",
    "FileSink",
    "HeaderInfo",
    "MemorySink",
    "RunStream",
    "Sink",
    "Vanished",
    "list_streams",
    "path_component",
]
