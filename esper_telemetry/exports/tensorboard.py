"""Records as TensorBoard event files: a folder for each run, a scalar for each measurement, as a double.

TensorBoard's own writers make 32-bit floats of scalars; here the value is a tensor of doubles, which its reader takes
as it is. Text, lists and what is nested are not scalars and are reported as lost.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from esper_telemetry.decode import read
from esper_telemetry.errors import MissingExtraError
from esper_telemetry.exports.exportreport import ExportReport, decodable
from esper_telemetry.exports.target import Target, hidden_name
from esper_telemetry.v1 import options_pb2

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from esper_telemetry.decode import Event
    from esper_telemetry.tables.opening import Runs

_STEPS = ("step", "global_epoch", "batch_idx", "inner_epoch")
_SCALAR = "scalar.logged"
_NANOS = 1e9


def export_tensorboard(runs: Runs, target: str | os.PathLike[str]) -> ExportReport:
    """Write the measurements of runs as TensorBoard reads them.

    A tag is the type and the field ("epoch.completed/val_loss"), with the environment where there is one; a scalar that
    the program named itself keeps its name. The step is `step`, else the epoch or batch of the context.

    Args:
        runs: a record file, a run folder, a pattern such as "runs/*", or several of these.
        target: the folder, or a URL that fsspec knows.

    Raises:
        MissingExtraError: tensorboard is not installed.
        RecordError: nothing of the runs can be read.
        OSError: the target cannot be written.
    """
    place = Target(target)
    records = read(runs, strict=False)
    report = ExportReport()
    files: dict[str, Any] = {}
    try:
        for event in decodable(records, report.lost):
            name = f"{event.run_id}/events.out.tfevents.esper-r{event.rank}"
            if name not in files:
                files[name] = _EventFile(place, name)
            report.rows += files[name].add(event, report.lost)
    finally:
        for file in files.values():
            file.close()
    report.files = len(files)
    report.bytes = sum(place.size(name) for name in files)
    report.warnings += records.warnings
    return report


class _EventFile:
    """An event file of one run and rank."""

    def __init__(self, place: Target, name: str) -> None:
        try:
            from tensorboard.compat.proto import event_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ModuleNotFoundError:
            raise MissingExtraError("the package 'tensorboard', which this export needs,", "tensorboard") from None
        self._event = event_pb2.Event
        self._place, self._name = place, name
        self._file = place.create(hidden_name(name))
        self._records = RecordWriter(self._file)
        self._counts: dict[str, int] = {}
        self._records.write(self._event(file_version="brain.Event:2").SerializeToString())

    def add(self, event: Event, lost: dict[str, str]) -> bool:
        """Write the scalars of an event; tell whether there was one."""
        found = dict(scalars(event, lost))
        if not found:
            return False
        message = self._event(wall_time=event.time_unix_nano / _NANOS, step=self._step(event))
        for tag, value in found.items():
            summary = message.summary.value.add(tag=tag)
            summary.metadata.plugin_data.plugin_name = "scalars"
            summary.metadata.data_class = 1  # DATA_CLASS_SCALAR
            summary.tensor.dtype = 2  # DT_DOUBLE
            summary.tensor.double_val.append(value)
        self._records.write(message.SerializeToString())
        return True

    def close(self) -> None:
        """Give the file its name."""
        self._records.close()
        self._place.sync([hidden_name(self._name)])
        self._place.move(hidden_name(self._name), self._name)

    def _step(self, event: Event) -> int:
        """Return the step of an event; of a type that knows none, how many came before."""
        for name in _STEPS:
            if name in event.data and isinstance(event.data[name], int):
                return int(event.data[name])
        self._counts[event.type] = self._counts.get(event.type, -1) + 1
        return self._counts[event.type]


def scalars(event: Event, lost: dict[str, str]) -> Iterator[tuple[str, float]]:
    """Yield tag and value of each measurement of an event, and note the fields that are none in `lost`."""
    if event.type == _SCALAR:
        if "value" in event.data:
            yield str(event.data.get("name", "")), float(event.data["value"])
        if "unit" in event.data:
            lost[f"{_SCALAR}.unit"] = "a scalar of TensorBoard has no unit"
        return
    for name in (field.name for field, _ in event.context.ListFields()):
        if name not in (*_STEPS, "env_id"):
            lost[f"context.{name}"] = "a scalar of TensorBoard has a step and no further context"
    env = f"/env{event.context.env_id}" if event.context.HasField("env_id") else ""
    for field in event.message.DESCRIPTOR.fields:
        if field.name in event.data:
            yield from _of_field(event, field.name, env, lost)


def _of_field(event: Event, name: str, env: str, lost: dict[str, str]) -> Iterator[tuple[str, float]]:
    value, meta = event.data[name], event.metas.get(name)
    tag, known = f"{event.type}/{name}", f"{event.type}.{name}"
    if meta is not None and meta.kind == options_pb2.KIND_KEY:
        lost[known] = "an identifier is no scalar"
    elif isinstance(value, (bool, int, float)):
        yield tag + env, _number(value, known, lost)
    elif isinstance(value, dict) and all(type(item) in (int, float) for item in value.values()):
        for key, item in value.items():
            yield f"{tag}/{key}{env}", _number(item, known, lost)
    else:
        lost[known] = "only numbers are scalars"


def _number(value: float, name: str, lost: dict[str, str]) -> float:
    number = float(value)
    if isinstance(value, int) and math.isfinite(number) and int(number) != value:
        lost[name] = "a double holds whole numbers up to 2^53 only"
    return number
