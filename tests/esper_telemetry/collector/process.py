"""A collector as a process of its own: `python process.py SETTINGS_JSON [JOURNAL [early]]`.

It prints its ports as JSON when it listens. With a journal every sync is written down, so that a test can take
away what a power loss would have taken; `early` leaves the sync of frames out and acks all the same.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from esper_telemetry.collector.frame_check import Validation
from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.retention import RetentionRule
from esper_telemetry.collector.server import serve
from esper_telemetry.collector.settings import Settings
from esper_telemetry.recordfile import append
from esper_telemetry.storage import recovery
from esper_telemetry.storage import segment_writer as appender

PATHS = ("directory", "certificate", "key", "client_ca", "tokens")


def journal_syncs(path: str) -> None:
    """Write path and size of a file to the journal once they are on the disk."""
    journal = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def synced(fd: int) -> None:
        name, size = Path(f"/proc/self/fd/{fd}").readlink(), os.fstat(fd).st_size
        os.fdatasync(fd)
        os.write(journal, f"{name}\t{size}\n".encode())

    append._sync_data = appender.sync_data = recovery.sync_data = synced


def main() -> None:
    said = json.loads(sys.argv[1])
    for name in PATHS:
        if said.get(name):
            said[name] = Path(said[name])
    said["validation"] = Validation(said.get("validation", "full"))
    said["limits"] = CollectorLimits(**said.get("limits", {}))
    said["retention"] = tuple(RetentionRule(**rule) for rule in said.get("retention", ()))
    if len(sys.argv) > 2:
        journal_syncs(sys.argv[2])
    if sys.argv[3:] == ["early"]:
        append._sync_data = lambda fd: None

    def ready(server) -> None:
        sys.stdout.write(
            json.dumps({"port": server.port, "metrics": server.metrics_port, "health": server.health_port}) + "\n"
        )
        sys.stdout.flush()

    asyncio.run(serve(Settings(**said), ready))


if __name__ == "__main__":
    main()
