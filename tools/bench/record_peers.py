"""Who writes and reads the same events: this SDK's record file, and what people use today.

Every contender builds its own form from plain fields, as a trainer would, and ends with a
closed file. A peer that is not installed is named and left out. Peers are given their own
recommended way: chunked zstd for MCAP, one line an event for JSON.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import struct
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import zstandard

import esper_telemetry as et
from esper.v1 import seed_pb2
from esper_telemetry.recorder.core import Core
from esper_telemetry.recorder.emitter import Emitter
from esper_telemetry.recordfile import HeaderInfo, RecordReader, RecordWriter, Selection, random_id
from esper_telemetry.schema import Batch, event_type, level_number
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from workload import Made

    from esper_telemetry.schema import EventType

FRAME_BYTES = 256 * 1024
_EVENTS_AT_ONCE = 4096  # more than a frame has


class Peer:
    """One way to keep events.

    Attributes:
        name: what the table calls it.
        needs: packages beside the SDK's own.
        share: part of the workload it is given: slow ones take less and are compared by the event.
    """

    name = ""
    needs: tuple[str, ...] = ()
    share = 1.0

    def missing(self) -> str:
        """Return the first package that is not installed, or nothing."""
        for package in self.needs:
            try:
                importlib.import_module(package)
            except ImportError as error:
                return f"{package} ({error})"
        return ""

    def write(self, folder: Path, made: Sequence[Made]) -> Path:
        """Write `made` to a new file below `folder` and return it."""
        raise NotImplementedError

    def read(self, path: Path) -> int | None:
        """Read and decode every event of `path`; return how many there are, None if it cannot be read back."""
        del path
        return None

    def window(self, path: Path, since: int, until: int) -> int | None:
        """Read and decode the events of a time window (ns), None if there is no way but to read all."""
        del path, since, until
        return None


def type_table(made: Iterable[Made]) -> dict[type, tuple[int, EventType]]:
    """Return the types of a workload with their numbers."""
    classes = dict.fromkeys(one.cls for one in made)
    return {cls: (number, event_type(cls)) for number, cls in enumerate(classes, 1)}


class _Times:
    """Clocks that show the time of the event that is emitted, and take no longer to read than real ones."""

    def __init__(self, times: Sequence[int]) -> None:
        self.wall_ns = itertools.repeat(times[0]).__next__
        self.monotonic_ns = itertools.chain(times[:1], times).__next__  # the stream is anchored at the first one


def batches(made: Sequence[Made], types: dict[type, tuple[int, EventType]]) -> Iterator[Batch]:
    """Make batches of a frame as the recorder makes them, but in this thread: emit, buffer, cutter."""
    clock = _Times([one.time for one in made])
    options = et.RecordOptions(frame_bytes=FRAME_BYTES, buffer_bytes=1 << 30)
    core = Core(options, clock, [one for _, one in types.values()], level_number("debug"), strict=True)
    core.append, core.open_buffer = core.buffer.append, core.buffer
    root, bound = Emitter(core), dict[int, Emitter]()  # the workload shares the dicts of its contexts
    seq = 0
    for seq, one in enumerate(made, 1):
        emitter = bound.get(id(one.context))
        if emitter is None:
            emitter = bound[id(one.context)] = root.bind(**one.context)
        emitter.emit(one.cls, **one.fields)
        if not seq % _EVENTS_AT_ONCE:
            yield from _taken(core, seq - _EVENTS_AT_ONCE)
    yield from _taken(core, seq)


def _taken(core: Core, until: int) -> Iterator[Batch]:
    """Yield the next batches, up to one that reaches a sequence number."""
    while core.buffer.taken_seq < until and (batch := core.buffer.take()) is not None:
        yield batch
        core.buffer.written()


class Record(Peer):
    """The record file: events built, serialized, framed and written in this thread."""

    name = "record file"

    def write(self, folder: Path, made: Sequence[Made]) -> Path:
        """Write a closed record."""
        path = folder / "record.esr.zst"
        types = type_table(made)
        header = HeaderInfo(run_id="bench", producer_id=random_id())
        writer = RecordWriter(path, header, list(types.values()))
        for batch in batches(made, types):
            writer.write(batch)
        writer.close(sync=False)
        return path

    def read(self, path: Path) -> int:
        """Decode every payload."""
        return self._decode(path, None)

    def window(self, path: Path, since: int, until: int) -> int:
        """Decode the payloads of a window."""
        return self._decode(path, Selection(since_ns=since, until_ns=until))

    def _decode(self, path: Path, selection: Selection | None) -> int:
        count = 0
        with RecordReader(path) as reader:
            parse = {number: _class_of(name).FromString for number, name in reader.types.items()}
            for event in reader.events(selection):
                parse[event.type_id](event.payload)
                count += 1
        return count


def _class_of(full_name: str) -> Any:
    return getattr(seed_pb2 if full_name.startswith("esper.v1.") else et.events, full_name.rpartition(".")[2])


class Read(Record):
    """The same file by the road of an analyst: names, units and losses are known to each event."""

    name = "esper_telemetry.read"

    def read(self, path: Path) -> int:
        """Decode every payload."""
        return sum(1 for event in et.read(path) if event.data)

    def window(self, path: Path, since: int, until: int) -> int:
        """Decode the payloads of a window."""
        return sum(1 for event in et.read(path, since=since, until=until) if event.data)


class RecordCut(Record):
    """The same file without its footer, as a kill leaves it."""

    name = "record file, footer cut off"

    def write(self, folder: Path, made: Sequence[Made]) -> Path:
        """Write a record and cut it after its last frame."""
        path = super().write(folder, made)
        with RecordReader(path) as reader:
            end = list(reader.frames())[-1].end
        os.truncate(path, end)
        return path


class NoFile(Peer):
    """What the record file cannot avoid: events built, serialized, framed and compressed, and no file at all."""

    name = "the same events, no file at all"

    def write(self, folder: Path, made: Sequence[Made]) -> Path:
        """Compress and forget."""
        compress = zstandard.ZstdCompressor(level=3, write_checksum=True).compress
        for batch in batches(made, type_table(made)):
            compress(batch.raw)
        return folder


class Emit(Record):
    """The road of a trainer: run.emit, buffer, writer thread, closed run."""

    name = "run.emit"

    def __init__(self, options: et.RecordOptions | None = None) -> None:
        self._options = options or et.RecordOptions(buffer_bytes=1 << 30)

    def write(self, folder: Path, made: Sequence[Made]) -> Path:
        """Emit every event and close the run."""
        with et.start_run(folder, name="bench", record=self._options, schemas=[seed_pb2]) as run:
            emitters: dict[int, Emitter] = {}
            for one in made:
                emitter = emitters.get(id(one.context))
                if emitter is None:
                    emitter = emitters[id(one.context)] = run.bind(**one.context)
                emitter.emit(one.cls, **one.fields)
        return run.paths[0]


class JsonLines(Peer):
    """One JSON object a line, standard library."""

    name = "JSON lines (json)"

    def codec(self) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
        """Return encoder and decoder."""
        return lambda value: json.dumps(value).encode(), json.loads

    def write(self, folder: Path, made: Sequence[Made]) -> Path:
        """Write one line an event."""
        dumps, _ = self.codec()
        path = folder / "events.jsonl"
        with path.open("wb") as file:
            for seq, one in enumerate(made, 1):
                line = {"type": one.cls.__name__, "seq": seq, "time": one.time, **one.context, **one.fields}
                file.write(dumps(line) + b"\n")
        return path

    def read(self, path: Path) -> int:
        """Parse every line."""
        _, loads = self.codec()
        with path.open("rb") as file:
            return sum(1 for line in file if loads(line))


class OrJsonLines(JsonLines):
    """One JSON object a line, by the fastest encoder there is."""

    name = "JSON lines (orjson)"
    needs = ("orjson",)

    def codec(self) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
        """Return encoder and decoder."""
        orjson = importlib.import_module("orjson")
        return orjson.dumps, orjson.loads


class Bare(Peer):
    """The least that a writer by column may take in Python: no time, number, context, loss or check of a value."""

    name = "kept, packed, compressed, alone"

    def write(self, folder: Path, made: Sequence[Made]) -> Path:
        """Call a function for each event, and make a frame of what it kept now and then."""
        compress = zstandard.ZstdCompressor(level=3, write_checksum=True).compress
        kept: dict[type, list[dict[str, Any]]] = {one.cls: [] for one in made}
        path = folder / "bare.zst"

        def keep(cls: type, /, **fields: Any) -> None:
            kept[cls].append(fields)

        with path.open("wb") as file:
            for number, one in enumerate(made, 1):
                keep(one.cls, **one.fields)
                if not number % _EVENTS_AT_ONCE or number == len(made):
                    file.write(compress(b"".join(map(_bare_columns, kept.values()))))
                    for rows in kept.values():
                        rows.clear()
        return path


def _bare_columns(rows: list[dict[str, Any]]) -> bytes:
    if not rows:
        return b""
    columns = zip(*map(itemgetter(*rows[0]), rows), strict=True)
    return b"".join(
        "\0".join(one).encode() if isinstance(one[0], str) else struct.pack(f"<{len(one)}d", *one) for one in columns
    )


class Mcap(Peer):
    """MCAP with its defaults (chunks of 1 MiB, zstd), our envelope as its message."""

    name = "MCAP"
    needs = ("mcap", "mcap_protobuf")

    def write(self, folder: Path, made: Sequence[Made]) -> Path:
        """Write an indexed MCAP file."""
        module = importlib.import_module("mcap_protobuf.writer")
        path = folder / "events.mcap"
        types = type_table(made)
        with path.open("wb") as file, module.Writer(file) as writer:
            for seq, one in enumerate(made, 1):
                number, kind = types[one.cls]
                event = record_pb2.Event(
                    type_id=number,
                    time_unix_nano=one.time,
                    seq=seq,
                    context=one.context,
                    payload=one.cls(**one.fields).SerializeToString(),
                )
                writer.write_message(topic=kind.name, message=event, log_time=one.time, publish_time=one.time)
        return path

    def read(self, path: Path) -> int:
        """Decode every payload."""
        return self._decode(path)

    def window(self, path: Path, since: int, until: int) -> int:
        """Decode the payloads of a window."""
        return self._decode(path, start_time=since, end_time=until)

    def _decode(self, path: Path, **bounds: int) -> int:
        reader_module = importlib.import_module("mcap.reader")
        names = {
            kind: event_type(kind).name for kind in (*vars(et.events).values(), *vars(seed_pb2).values()) if _is(kind)
        }
        parse = {name: kind.FromString for kind, name in names.items()}
        count = 0
        with path.open("rb") as file:
            for _, channel, message in reader_module.make_reader(file).iter_messages(**bounds):
                event = record_pb2.Event.FromString(message.data)
                parse[channel.topic](event.payload)
                count += 1
        return count


def _is(kind: object) -> bool:
    try:
        event_type(kind)  # type: ignore[arg-type]  # a module may hold anything
    except et.TelemetryError:
        return False
    return True


class TfEvents(Peer):
    """TensorBoard's own writer: one scalar summary a number."""

    name = "TensorBoard (EventFileWriter)"
    needs = ("tensorboard",)
    share = 0.05

    def write(self, folder: Path, made: Sequence[Made]) -> Path:
        """Write one summary for each numeric field."""
        writer_module = importlib.import_module("tensorboard.summary.writer.event_file_writer")
        event_pb2 = importlib.import_module("tensorboard.compat.proto.event_pb2")
        summary_pb2 = importlib.import_module("tensorboard.compat.proto.summary_pb2")
        writer = writer_module.EventFileWriter(str(folder))
        for one in made:
            values = [
                summary_pb2.Summary.Value(tag=f"{one.cls.__name__}/{name}", simple_value=value)
                for name, value in one.fields.items()
                if isinstance(value, float)
            ]
            summary = summary_pb2.Summary(value=values)
            writer.add_event(
                event_pb2.Event(wall_time=one.time / 1e9, step=one.context["global_epoch"], summary=summary)
            )
        writer.close()
        return next(folder.glob("events.out.*"))

    def read(self, path: Path) -> int:
        """Load every event."""
        loader = importlib.import_module("tensorboard.backend.event_processing.event_file_loader")
        return sum(1 for event in loader.LegacyEventFileLoader(str(path)).Load() if event.HasField("summary"))


class Wandb(Peer):
    """Weights & Biases, offline."""

    name = "wandb offline"
    needs = ("wandb",)
    share = 0.02

    def write(self, folder: Path, made: Sequence[Made]) -> Path:
        """Log every event to an offline run."""
        os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=str(folder), WANDB_CONSOLE="off")
        run = importlib.import_module("wandb").init(project="bench", dir=str(folder), mode="offline")
        for one in made:
            run.log({f"{one.cls.__name__}/{name}": value for name, value in one.fields.items()} | one.context)
        run.finish()
        return next(folder.rglob("*.wandb"))


class Parquet(Peer):
    """Parquet by pyarrow, a table for each type, encodings chosen for measurements."""

    name = "Parquet (pyarrow, tuned)"
    needs = ("pyarrow",)

    def write(self, folder: Path, made: Sequence[Made]) -> Path:
        """Write one file for each type; nothing is on disk before the end."""
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
        rows: dict[str, list[dict[str, Any]]] = {}
        for seq, one in enumerate(made, 1):
            row = {"seq": seq, "time": one.time, **one.context, **one.fields}
            rows.setdefault(one.cls.__name__, []).append(row)
        for name, of_type in rows.items():
            table = arrow.Table.from_pylist(of_type)
            encoding = {
                field.name: "BYTE_STREAM_SPLIT" if field.type == arrow.float64() else "DELTA_BINARY_PACKED"
                for field in table.schema
                if field.type in (arrow.float64(), arrow.int64())
            }
            strings = [field.name for field in table.schema if field.name not in encoding]
            parquet.write_table(
                table,
                folder / f"{name}.parquet",
                compression="zstd",
                use_dictionary=strings,
                column_encoding=encoding,
            )
        return folder

    def read(self, path: Path) -> int:
        """Load every table into rows."""
        parquet = importlib.import_module("pyarrow.parquet")
        return sum(len(parquet.read_table(file).to_pylist()) for file in path.glob("*.parquet"))


PEERS: tuple[Peer, ...] = (
    Record(),
    Emit(),
    NoFile(),
    Bare(),
    Mcap(),
    JsonLines(),
    OrJsonLines(),
    TfEvents(),
    Wandb(),
    Parquet(),
)
