"""Records as one MCAP file: a topic for each type, the payload as it is, its schema the record's own descriptors.

The context of an event is a message of its own, in the topic "<type>/context", with the same time and number. Nothing
is lost: blocks of steps stay blocks, and run, stream, rank and attempt are metadata of the channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2

from esper_telemetry.decode import read
from esper_telemetry.errors import MissingExtraError
from esper_telemetry.exports.exportreport import ExportReport, decodable
from esper_telemetry.exports.target import Target, hidden_name

if TYPE_CHECKING:
    import os

    from esper_telemetry.decode import Event
    from esper_telemetry.tables.opening import Runs

NAME = "events.mcap"


def export_mcap(runs: Runs, target: str | os.PathLike[str]) -> ExportReport:
    """Write the events of runs to `events.mcap`, with checksums and an index.

    Args:
        runs: a record file, a run folder, a pattern such as "runs/*", or several of these.
        target: the folder, or a URL that fsspec knows.

    Raises:
        MissingExtraError: mcap is not installed.
        RecordError: nothing of the runs can be read.
        OSError: the target cannot be written.
    """
    try:
        from mcap.writer import Writer
    except ModuleNotFoundError:
        raise MissingExtraError("the package 'mcap', which this export needs,", "mcap") from None

    place = Target(target)
    records = read(runs, expand=False, strict=False)
    report = ExportReport()
    with place.create(hidden_name(NAME)) as file:
        writer: Any = Writer(file, enable_crcs=True, enable_data_crcs=True)
        writer.start(profile="esper-telemetry", library="esper-telemetry")
        channels = _Channels(writer)
        for event in decodable(records, report.lost):
            report.rows += 1
            context = event.context
            channels.add(event, event.type, event.message.DESCRIPTOR, event.payload)
            if context.ByteSize():
                channels.add(event, f"{event.type}/context", context.DESCRIPTOR, context.SerializeToString())
        writer.finish()
    place.sync([hidden_name(NAME)])
    place.move(hidden_name(NAME), NAME)
    report.files, report.bytes = 1, place.size(NAME)
    report.warnings += records.warnings
    return report


class _Channels:
    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._schemas: dict[tuple[str, int], int] = {}
        self._kept: list[Any] = []  # descriptors, so that their ids stay theirs
        self._channels: dict[tuple[Any, ...], int] = {}

    def add(self, event: Event, topic: str, descriptor: Any, message: bytes) -> None:
        where = event.run_id, event.stream, event.rank, event.attempt
        key = topic, id(descriptor), *where
        if key not in self._channels:
            names = ("run", "stream", "rank", "attempt")
            self._channels[key] = self._writer.register_channel(
                topic=topic,
                message_encoding="protobuf",
                schema_id=self._schema(descriptor),
                metadata={name: str(value) for name, value in zip(names, where, strict=True)},
            )
        self._writer.add_message(
            channel_id=self._channels[key],
            log_time=event.time_unix_nano,
            publish_time=event.time_unix_nano,
            sequence=event.seq & 0xFFFFFFFF,
            data=message,
        )

    def _schema(self, descriptor: Any) -> int:
        key = descriptor.full_name, id(descriptor)
        if key not in self._schemas:
            self._kept.append(descriptor)
            files = descriptor_pb2.FileDescriptorSet()
            _add_file(files, descriptor.file, set())
            self._schemas[key] = self._writer.register_schema(
                name=descriptor.full_name, encoding="protobuf", data=files.SerializeToString()
            )
        return self._schemas[key]


def _add_file(files: descriptor_pb2.FileDescriptorSet, file: Any, seen: set[str]) -> None:
    if file.name in seen:
        return
    seen.add(file.name)
    for dependency in file.dependencies:
        _add_file(files, dependency, seen)
    file.CopyToProto(files.file.add())
