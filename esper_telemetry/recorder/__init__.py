"""SAY it: the run a trainer holds, its emitters, the buffer, the writer thread and the loss ledger.

The training thread builds and serializes; one thread of ours compresses and writes.
Nothing here knows a device, and nothing here reads a record.
"""

from esper_telemetry.recorder.emitter import Emitter
from esper_telemetry.recorder.options import RecordOptions, StreamOptions
from esper_telemetry.recorder.run import Run, RunStats
from esper_telemetry.recorder.start import start_run

__all__ = ["Emitter", "RecordOptions", "Run", "RunStats", "StreamOptions", "start_run"]
