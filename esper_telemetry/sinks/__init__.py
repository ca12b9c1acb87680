"""WHERE it goes in this process: a file, memory, or a sink of the user's. One `write(batch)`, so wrappers are tiny.

A sink of one's own, with the events of each batch as plain dicts:

    class Printer:
        def __init__(self):
            self.decoder = BatchDecoder()

        def write(self, batch):
            for event in self.decoder.decode(batch):
                print(event.name, event.data)

    with esper_telemetry.start_run("runs", name="first", sinks=[Printer()]) as run: ...
"""

from esper_telemetry.recordfile import HeaderInfo, RunStream, Vanished, list_streams
from esper_telemetry.recordfile.append import sync_folder
from esper_telemetry.recordfile.paths import path_component
from esper_telemetry.sinks.base import Sink, UserSink
from esper_telemetry.sinks.child import CHILD_STREAM, MOST_CHILDREN, ChildSink, remove_tally, stream_is_written, tallied
from esper_telemetry.sinks.decoder import BatchDecoder, DecodedEvent
from esper_telemetry.sinks.file import SYNC_POLICIES, FileSink
from esper_telemetry.sinks.memory import MemorySink

__all__ = [
    "CHILD_STREAM",
    "MOST_CHILDREN",
    "SYNC_POLICIES",
    "BatchDecoder",
    "ChildSink",
    "DecodedEvent",
    "FileSink",
    "HeaderInfo",
    "MemorySink",
    "RunStream",
    "Sink",
    "UserSink",
    "Vanished",
    "list_streams",
    "path_component",
    "remove_tally",
    "stream_is_written",
    "sync_folder",
    "tallied",
]
