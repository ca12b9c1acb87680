"""The runs in a folder without the collector that wrote them: listed without a change, deleted while no collector runs.

Listing reads headers and the ends of files only, and may be done beside a collector. Deleting claims the folder, so a
collector can neither run nor start meanwhile.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from esper_telemetry.collector import archive
from esper_telemetry.collector.appender import OWNER_ATTRIBUTE
from esper_telemetry.collector.disk import claim_folder
from esper_telemetry.collector.identity import check_run_id, run_folder
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.errors import ConfigError, RecordError
from esper_telemetry.recordfile import SUFFIX, RecordReader
from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from pathlib import Path


def stored_run(root: Path, run_id: str) -> collector_pb2.RunSummary:
    """Return what the files of a run tell: producers by rank and start, without those of no collector."""
    run = collector_pb2.RunSummary(run_id=run_id)
    found: dict[bytes, collector_pb2.ProducerSummary] = {}
    for path in sorted((root / run_folder(run_id)).glob("*" + SUFFIX)):
        with contextlib.suppress(RecordError, OSError), RecordReader(path) as reader:
            header, last_seq = reader.header, reader.segments[0].last_seq
            if header.run_id != run_id or OWNER_ATTRIBUTE not in header.attributes:
                continue
            run.run_name = run.run_name or header.run_name
            summary = found.setdefault(header.producer_id, collector_pb2.ProducerSummary())
            summary.producer_id, summary.rank, summary.stream = header.producer_id, header.rank, header.stream
            summary.host, summary.started_unix_nano = header.host, header.anchor_unix_nano
            summary.durable_seq = max(summary.durable_seq, last_seq)
            summary.stored_bytes += reader.size
    run.producers.extend(sorted(found.values(), key=lambda each: (each.rank, each.started_unix_nano)))
    run.producer_count = len(found)
    return run


def delete_stored(root: Path, run_id: str) -> int:
    """Delete a run of a folder that no collector uses; return what its record files took, bytes.

    Raises:
        ConfigError: there is no such run, it is no collector's, or a collector runs on the folder.
        SinkError: the operating system refused.
    """
    try:
        check_run_id(run_id)
    except Refused as refused:
        raise ConfigError(refused.message) from None
    if not stored_run(root, run_id).producers:  # before anything is made: it may be no folder of a collector
        raise ConfigError(f"{root}: no run {run_id!r} of a collector is here; esper-telemetry runs {root} names those")
    try:
        lock = claim_folder(root)
    except ConfigError:
        raise ConfigError(
            f"{root}: a collector runs on this folder; delete through it: esper-telemetry runs delete RUN HOST:PORT"
        ) from None
    with lock:
        size, grave = archive.bury_run(root, run_id)
        archive.remove(grave)
    return size
