"""Old runs as records: scalars of TensorBoard, of JSON lines and of CSV, so that they can be compared with new ones.

Each becomes `scalar.logged` with the name, step and time that it had. A file that is read is never changed, and a line
that holds no scalar is counted.
"""

from __future__ import annotations

import csv
import json
import os
import socket
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.errors import ConfigError, MissingExtraError, RecordError
from esper_telemetry.recordfile import HeaderInfo, RecordWriter, SegmentName
from esper_telemetry.schema import Batch, encode_context, event_type, frame_event
from esper_telemetry.v1 import run_pb2, training_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.message import Message

IMPORTS = ("tensorboard", "jsonl", "csv")
_STEPS = ("step", "_step", "global_step", "iteration", "epoch")
_TIMES = ("time", "_timestamp", "timestamp", "wall_time", "ts")
_CLASSES = (run_pb2.RunStarted, training_pb2.ScalarLogged, run_pb2.RunFinished)
_AT_ONCE = 4096
_NANOS = 1_000_000_000


class Scalar(NamedTuple):
    """A number of an old run."""

    name: str
    value: float
    step: int | None
    time_unix_nano: int


@dataclass(slots=True)
class ImportReport:
    """What an import did.

    Attributes:
        runs: folders of the runs that were written.
        scalars: numbers in them.
        left_out: lines that held no scalar, by file.
    """

    runs: list[Path] = field(default_factory=list)
    scalars: int = 0
    left_out: dict[str, int] = field(default_factory=dict)


def import_runs(form: str, paths: Iterable[str | os.PathLike[str]], folder: str | os.PathLike[str]) -> ImportReport:
    """Write old runs as records.

    Args:
        form: "tensorboard" (folders with event files: each is a run), "jsonl" or "csv" (each file is a run; a number
            in a line is a scalar with the name of its key or column, "step" its step, "time" its time).
        paths: folders or files.
        folder: folder of the runs that are written.

    Raises:
        ConfigError: `form` is unknown.
        RecordError: a path holds nothing of that form.
        MissingExtraError: TensorBoard is not installed.
        OSError: a path cannot be read, or the folder not written.
    """
    if form not in IMPORTS:
        raise ConfigError(f"form is {form!r}; use one of {', '.join(IMPORTS)}")
    report = ImportReport()
    for path in map(Path, paths):
        found = _tensorboard(path) if form == "tensorboard" else [(path.stem, _lines(path, form, report))]
        for name, scalars in found:
            _write(name, scalars, Path(folder), report, str(path))
    return report


def _write(name: str, scalars: Iterator[Scalar], folder: Path, report: ImportReport, source: str) -> None:
    first = next(scalars, None)
    if first is None:
        raise RecordError("no scalar was found in it; is it of another form?", path=source)
    run_id = _free_id(folder, name)
    producer = os.urandom(16)
    info = HeaderInfo(
        run_id=run_id, producer_id=producer, run_name=name, anchor_unix_nano=first.time_unix_nano,
        host=socket.gethostname(), pid=os.getpid(), attributes={"imported_from": source},
    )  # fmt: skip
    place = folder / run_id / SegmentName.of("main", 0, first.time_unix_nano, producer, 1).format()
    place.parent.mkdir(parents=True)
    writer = RecordWriter(place, info, [(number, event_type(cls)) for number, cls in enumerate(_CLASSES, 1)])
    stream = _Stream(writer)
    stream.add(1, first.time_unix_nano, run_pb2.RunStarted(name=name, run_id=run_id, tags={"imported_from": source}))
    last = first
    for scalar in _chain(first, scalars):
        message = training_pb2.ScalarLogged(name=scalar.name, value=scalar.value, step=scalar.step)
        stream.add(2, scalar.time_unix_nano, message)
        report.scalars += 1
        last = scalar
    ended = run_pb2.RunFinished(outcome=run_pb2.RUN_OUTCOME_UNSPECIFIED, reason="imported", dropped=0)
    stream.add(3, last.time_unix_nano, ended)
    stream.cut()
    writer.close()
    report.runs.append(place.parent)


def _chain(first: Scalar, rest: Iterator[Scalar]) -> Iterator[Scalar]:
    yield first
    yield from rest


def _free_id(folder: Path, name: str) -> str:
    """Return a run id that is not there yet."""
    clean = "".join(char if (char.isalnum() and char.isascii()) or char in "_+=@,.~-" else "-" for char in name)
    base = clean.lstrip(".-")[:100] or "imported"
    run_id, number = base, 1
    while (folder / run_id).exists():
        number += 1
        run_id = f"{base}-{number}"
    return run_id


class _Stream:
    """Numbers events and writes them in frames."""

    def __init__(self, writer: RecordWriter) -> None:
        self._writer = writer
        self._seq = 0
        self._events: list[bytes] = []
        self._ids: list[int] = []
        self._times: list[int] = []

    def add(self, type_id: int, time: int, message: Message) -> None:
        self._seq += 1
        self._events.append(frame_event(type_id, time, self._seq, encode_context({}), message.SerializeToString()))
        self._ids.append(type_id)
        self._times.append(time)
        if len(self._events) >= _AT_ONCE:
            self.cut()

    def cut(self) -> None:
        """Write what waits as a frame."""
        if self._events:
            first = self._seq - len(self._events) + 1
            times = min(self._times), max(self._times)
            self._writer.write(Batch(self._events, self._ids, first, self._seq, *times))
            self._events, self._ids, self._times = [], [], []


# --- TensorBoard ---------------------------------------------------------------------------------------------------


def _tensorboard(folder: Path) -> list[tuple[str, Iterator[Scalar]]]:
    """Return each folder below `folder` that holds event files, as a run."""
    files = sorted(folder.rglob("*tfevents*")) if folder.is_dir() else [folder]
    by_folder: dict[Path, list[Path]] = {}
    for file in files:
        by_folder.setdefault(file.parent, []).append(file)
    if not by_folder:
        raise RecordError("no event file (*tfevents*) was found in it; pass a log folder", path=str(folder))
    return [
        (str(place.relative_to(folder)) if place != folder and folder.is_dir() else place.name, _event_files(found))
        for place, found in by_folder.items()
    ]


def _event_files(files: list[Path]) -> Iterator[Scalar]:
    try:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.util import tensor_util
    except ModuleNotFoundError:
        raise MissingExtraError("the package 'tensorboard', which this import needs,", "tensorboard") from None
    for file in files:
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                array = tensor_util.make_ndarray(value.tensor) if value.HasField("tensor") else None
                if array is not None and array.size == 1 and array.dtype.kind in "fiu":
                    yield Scalar(value.tag, float(array.item()), event.step, int(event.wall_time * _NANOS))


# --- lines ---------------------------------------------------------------------------------------------------------


def _lines(path: Path, form: str, report: ImportReport) -> Iterator[Scalar]:
    usual = path.stat().st_mtime_ns
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file) if form == "csv" else map(_object, file)
        for row in rows:
            found = list(_scalars(row, usual)) if row else []
            if not found:
                report.left_out[str(path)] = report.left_out.get(str(path), 0) + 1
            yield from found


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _scalars(row: dict[str, Any], usual: int) -> Iterator[Scalar]:
    lower = {str(name).lower(): value for name, value in row.items()}
    step = next((number for name in _STEPS if (number := _number(lower.get(name))) is not None), None)
    time = next((moment for name in _TIMES if (moment := _moment(lower.get(name))) is not None), usual)
    for name, value in row.items():
        number = _number(value)
        if number is not None and str(name).lower() not in (*_STEPS, *_TIMES):
            yield Scalar(str(name), number, None if step is None else int(step), time)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _moment(value: Any) -> int | None:
    """Return a time as nanoseconds since 1970 UTC: seconds, or ISO 8601 with a time zone."""
    number = _number(value)
    if number is not None:
        return int(number * _NANOS) if number > 0 else None
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return int(found.timestamp() * _NANOS) if found.tzinfo is not None else None
