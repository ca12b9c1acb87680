"""Records as OTLP logs (data model 1.11): JSON lines as the file exporter of OpenTelemetry writes and reads them.

Each event is a log record: `event_name` its type, body its fields, attributes its context; run, stream, rank and
attempt are the resource. A number beyond 64 bits with a sign is a text there, which is reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.decode import read
from esper_telemetry.errors import MissingExtraError
from esper_telemetry.exports.exportreport import ExportReport, decodable
from esper_telemetry.exports.target import Target, hidden_name

if TYPE_CHECKING:
    import os

    from esper_telemetry.decode import Event
    from esper_telemetry.tables.opening import Runs

NAME = "logs.jsonl"
_AT_ONCE = 256
_MOST = (1 << 63) - 1


def export_otlp(runs: Runs, target: str | os.PathLike[str]) -> ExportReport:
    """Write the events of runs as OTLP logs, `logs.jsonl`.

    Args:
        runs: a record file, a run folder, a pattern such as "runs/*", or several of these.
        target: the folder, or a URL that fsspec knows.

    Raises:
        MissingExtraError: opentelemetry-proto is not installed.
        RecordError: nothing of the runs can be read.
        OSError: the target cannot be written.
    """
    try:
        from google.protobuf import json_format
        from opentelemetry.proto.logs.v1 import logs_pb2
    except ModuleNotFoundError:
        raise MissingExtraError("the package 'opentelemetry-proto', which this export needs,", "otlp") from None

    place = Target(target)
    records = read(runs, strict=False)
    report = ExportReport()
    with place.create(hidden_name(NAME)) as file:
        logs, scopes = logs_pb2.LogsData(), _Scopes()

        def write() -> None:
            text = json_format.MessageToJson(logs, indent=None, preserving_proto_field_name=False)
            file.write(text.encode() + b"\n")
            logs.Clear()
            scopes.clear()

        for event in decodable(records, report.lost):
            _fill(scopes.of(event, logs).log_records.add(), event, report.lost)
            report.rows += 1
            if report.rows % _AT_ONCE == 0:
                write()
        if report.rows % _AT_ONCE:
            write()
    place.sync([hidden_name(NAME)])
    place.move(hidden_name(NAME), NAME)
    report.files, report.bytes = 1, place.size(NAME)
    report.warnings += records.warnings
    return report


class _Scopes(dict[tuple[str, str, int, int], Any]):
    """The scope that the events of a stream are in, by stream."""

    def of(self, event: Event, logs: Any) -> Any:
        where = event.run_id, event.stream, event.rank, event.attempt
        if where not in self:
            resource = logs.resource_logs.add()
            names = ("run", "stream", "rank", "attempt")
            for name, value in zip(names, where, strict=True):
                _put(resource.resource.attributes.add(key=f"esper.{name}").value, value, "", {})
            resource.resource.attributes.add(key="service.name").value.string_value = "esper-telemetry"
            self[where] = resource.scope_logs.add()
            self[where].scope.name = "esper_telemetry"
        return self[where]


def _fill(record: Any, event: Event, lost: dict[str, str]) -> None:
    record.time_unix_nano = record.observed_time_unix_nano = event.time_unix_nano
    record.event_name = event.type
    record.attributes.add(key="esper.seq").value.int_value = event.seq
    context = {field.name: value for field, value in event.context.ListFields()}
    for name, value in context.items():
        _put(record.attributes.add(key=f"esper.{name}").value, value, f"{event.type}.{name}", lost)
    own = {field.name for field in event.message.DESCRIPTOR.fields}
    body = record.body.kvlist_value
    for name, value in event.data.items():
        if name in own:
            _put(body.values.add(key=name).value, value, f"{event.type}.{name}", lost)


def _put(target: Any, value: Any, name: str, lost: dict[str, str]) -> None:
    """Put a plain value into an AnyValue."""
    if isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int):
        if value > _MOST:
            target.string_value = str(value)
            lost[name] = "numbers beyond 2^63 are texts"
        else:
            target.int_value = value
    elif isinstance(value, float):
        target.double_value = value
    elif isinstance(value, bytes):
        target.bytes_value = value
    elif isinstance(value, list):
        target.array_value.SetInParent()
        for item in value:
            _put(target.array_value.values.add(), item, name, lost)
    elif isinstance(value, dict):
        target.kvlist_value.SetInParent()
        for key, item in value.items():
            _put(target.kvlist_value.values.add(key=str(key)).value, item, name, lost)
    else:
        target.string_value = str(value)
