"""Decode record files (`*.esr.zst`) to JSON lines, with protobuf and zstandard alone.

    python tools/decode_records.py RUN_FOLDER_OR_FILE... [--type seed.culled]

Nothing of the SDK is imported: a record carries its schema. This file is also a second description of the
format (esper_telemetry/recordfile/FORMAT.md); it reads front to back and never allocates what a frame only claims.

A record is a series of zstd frames and of skippable frames (all integers little-endian):

    PROLOGUE   skippable "ESPERREC": major, minor, flags. Starts a new context; `cat a b > c` has two
    HEADER     zstd: RecordFile{header}: who wrote, the type table, the descriptors. Then its DESC (records = 0)
    DATA       zstd: RecordFile{event... block...}, then its DESC: sizes, counts, sequence numbers, times. Any number
    ESKP EIDX  skippable: sequence numbers that will never come; the index. Not needed here, checksums are verified
    SEEKTABLE  skippable 5E 2A 4D 18: the official seek table, an entry for every frame before it. The writer finished

A frame counts once its DESC follows it. Exit code 0: all is read; 1: not a record, or damaged; 2: usage; 3: read,
but the end is cut off, frames or sequence numbers are missing that the writer listed or gave out, or a file came twice.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fnmatch
import heapq
import itertools
import json
import math
import os
import re
import sys
import time
import zlib
from collections.abc import Iterator  # noqa: TC003 - one plain list of imports
from pathlib import Path
from struct import Struct, calcsize, iter_unpack, pack, unpack
from typing import Any, BinaryIO

import zstandard
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

ZSTD, OURS, SEEK_TABLE = b"\x28\xb5\x2f\xfd", b"\x57\x2a\x4d\x18", b"\x5e\x2a\x4d\x18"
MAX_FRAME, MAX_WINDOW, MAX_DESCRIPTORS, MAX_SKIPPABLE = 4 << 20, 8 << 20, 1 << 20, 64 << 20

# What must be known to read a file; the rest of the schema is in its headers. A context stays bytes.
BOOTSTRAP = """RecordFile: Header* header 1, Event* event 2, EventBlock* block 3
Event: uint32 type_id 1, fixed64 time_unix_nano 2, uint64 seq 3, bytes context 4, bytes payload 5
EventBlock: uint32 type_id 1, uint32 events 2, uint64 first_seq 3, bytes seq_steps 4, fixed64 first_time_unix_nano 5, bytes time_steps 6, Column* context 7, Column* columns 8, bytes* payloads 9
Column: uint32 field 1, uint32 type 2, bytes doubles 3, bytes floats 4, sint64 first 5, bytes ints 6, bytes int_steps 7, bytes* texts 8, bytes indices 9, bytes flags 10
Header: bytes file_id 3, string run_id 4, bytes producer_id 5, string stream 6, uint32 segment 7, uint64 previous_last_seq 9, uint32 rank 14, TypeEntry* types 17, bytes file_descriptor_set 18, uint32 attempt 22, string definitions 24
TypeEntry: uint32 type_id 1, string full_name 2"""  # noqa: E501 - a message a line

# DESC, the commit marker of the frame before it: magic, size, "EFRM"; compressed and raw size, events (0 in a header
# frame), type mask; first and last sequence number covered (dropped ones too), earliest and latest time; crc32 of all.
DESC = Struct("<4sI4sIIIIQQQQI")
ENTRY = Struct("<II4s")  # of the seek table: size in the file, raw size (0 if skippable), last 4 bytes of a zstd frame

SCALARS: dict[str, Any] = {"uint32": 13, "fixed64": 6, "uint64": 4, "sint64": 18, "bytes": 12, "string": 9}

# How a value of a column is written in a message, by FieldDescriptorProto.Type: wire type, and a struct format or how a
# varint is made of the number.
KINDS = {
    kind: (wire, form)
    for wire, form, kinds in (
        (0, "two's complement", (3, 4, 5, 8, 13, 14)),
        (0, "zigzag", (17, 18)),
        (2, "text", (9,)),
        (1, "<d", (1,)),
        (1, "<Q", (6,)),
        (1, "<q", (16,)),
        (5, "<f", (2,)),
        (5, "<I", (7,)),
        (5, "<i", (15,)),
    )
    for kind in kinds
}
MAX_CELLS = 1 << 21  # values of a block, shared ones counted for each event

WARNINGS: list[str] = []
Line = tuple[int, str, dict[str, Any]]  # time (nanoseconds since 1970 UTC), full name of the type, what is shown


class Source:
    """A stream of bytes that knows where it is, and what a seek table at this place has to list."""

    def __init__(self, stream: BinaryIO, offset: int) -> None:
        self.stream, self.offset, self.table = stream, offset, bytearray()

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        data = self.stream.read(size)
        self.offset += len(data)
        if len(data) < size:
            raise EOFError
        return data

    def magic(self) -> bytes:
        """Return the four bytes a structure starts with, or none at the end of the file."""
        start = self.stream.read(1)
        self.offset += len(start)
        return start and start + self.take(3)

    def skippable(self, magic: bytes) -> bytes:
        """Return a skippable frame, magic and size included; the checksums of ours are verified."""
        if magic[1:] != OURS[1:] or magic[0] & 0xF0 != 0x50:  # noqa: PLR2004 - sixteen magics, 50 to 5F 2A 4D 18
            raise ValueError(f"no frame starts with {magic.hex(' ')}")
        head = magic + self.take(4)
        if (length := int.from_bytes(head[4:], "little")) > MAX_SKIPPABLE:
            raise ValueError(f"a skippable frame claims {length:,} bytes")
        whole = head + self.take(length)
        tag = whole[8:12] if magic == OURS else b""
        body, checksum = (whole[16:], whole[12:16]) if tag == b"EIDX" else (whole[:-4], whole[-4:])
        if tag in {b"EFRM", b"ESKP", b"EIDX"} and zlib.crc32(body) != int.from_bytes(checksum, "little"):
            raise ValueError(f"the checksum of {tag.decode()} is wrong")
        self.table += ENTRY.pack(len(whole), 0, bytes(4))
        return whole

    def zstd_frame(self) -> bytes:
        """Return a zstd frame, its magic taken already; block headers tell where it ends (RFC 8878, 3.1.1)."""
        flags = self.take(1)[0]
        single = bool(flags & 0x20)
        sizes = (0 if single else 1) + (0, 1, 2, 4)[flags & 3] + (int(single), 2, 4, 8)[flags >> 6]
        frame, last = bytearray((*ZSTD, flags, *self.take(sizes))), False
        while not last:
            head = self.take(3)
            block = int.from_bytes(head, "little")
            last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
            if kind == 3 or len(frame) + size > MAX_FRAME:  # noqa: PLR2004 - block type 3 is reserved
                raise ValueError("a zstd block is invalid or too large")
            frame += head + self.take(1 if kind == 1 else size)
        return bytes(frame + self.take(4 if flags & 4 else 0))

    def committed_frame(self, *, headers_only: bool) -> tuple[bytes, tuple[int, ...]]:
        """Return what a zstd frame holds and the fields of its DESC, which is compared with it first."""
        frame = self.zstd_frame()
        stated = zstandard.get_frame_parameters(frame)
        self.table += ENTRY.pack(len(frame), stated.content_size & 0xFFFFFFFF, frame[-4:])
        packed = self.skippable(self.magic() or self.take(4))
        if len(packed) != DESC.size or packed[8:12] != b"EFRM":
            raise ValueError("no DESC follows the frame")
        compressed, raw, *desc = DESC.unpack(packed)[3:-1]
        if (compressed, raw) != (len(frame), stated.content_size):
            raise ValueError("the frame and its DESC disagree about sizes")
        # Checked before anything is allocated: python-zstandard ignores max_output_size when the frame states a size.
        if raw > MAX_FRAME or stated.window_size > MAX_WINDOW or stated.dict_id or not stated.has_checksum:
            raise ValueError("the frame is over a limit of the format, needs a dictionary or has no checksum")
        if headers_only and desc[0]:
            return b"", tuple(desc)
        return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompress(frame), tuple(desc)


class Schema:
    """The types of one context, made from the descriptors in its headers."""

    def __init__(self) -> None:
        self.pool = descriptor_pool.DescriptorPool()
        self.pool.AddSerializedFile(descriptor_pb2.DESCRIPTOR.serialized_pb)  # no header carries descriptor.proto
        self.types: dict[int, str] = {}
        self.headers = 0
        self.files = {descriptor_pb2.DESCRIPTOR.name}
        self.cache: dict[Any, Any] = {}

    def add(self, header: Any) -> None:
        """Take the types and descriptors of a header; the first one carries Context."""
        if len(header.file_descriptor_set) > MAX_DESCRIPTORS:
            raise ValueError(f"the descriptors take {len(header.file_descriptor_set):,} bytes, over the limit")
        lines = iter(header.definitions.split("\n"))
        for file in descriptor_pb2.FileDescriptorSet.FromString(header.file_descriptor_set).file:
            if not file.name:
                complete(file, lines)
            if file.name not in self.files:
                self.pool.Add(file)
                self.files.add(file.name)
        self.headers += 1
        self.types.update((entry.type_id, entry.full_name) for entry in header.types)

    def message_class(self, full_name: str) -> Any:
        """Return a class for a message; KeyError if no descriptor declares it."""
        if full_name not in self.cache:
            self.cache[full_name] = message_factory.GetMessageClass(self.pool.FindMessageTypeByName(full_name))
        return self.cache[full_name]

    def option(self, descriptor: Any, kind: str, name: str) -> Any:
        """Return an option of ours ("event", "meta", "label"), read as the record itself declares it, or None."""
        with contextlib.suppress(KeyError):
            extension = self.pool.FindExtensionByName(f"esper_telemetry.v1.{name}")
            cls = self.message_class(f"google.protobuf.{kind}Options")
            options = cls.FromString(descriptor.GetOptions().SerializeToString())
            return options.Extensions[extension] if options.HasExtension(extension) else None
        return None

    def plain(self, message: Any) -> dict[str, Any]:
        """Return the fields that are set, as JSON can hold them: what was not measured is absent."""
        return {field.name: self.plain_field(field, value) for field, value in message.ListFields()}

    def plain_field(self, field: Any, value: Any) -> Any:
        """Return the value of a field: messages and maps (by key) as dicts, repeated fields as lists."""
        if field.message_type and field.message_type.GetOptions().map_entry:
            item = field.message_type.fields_by_name["value"]
            return {key: self.plain_item(item, value[key]) for key in sorted(value)}
        if field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED:
            return [self.plain_item(field, item) for item in value]
        return self.plain_item(field, value)

    def plain_item(self, field: Any, value: Any) -> Any:
        """Return one value; an enum's as its label, else its name less the enum's prefix, else its number."""
        if field.message_type:
            return self.plain(value)
        return self.enum_names(field.enum_type).get(value, value) if field.enum_type else json_ready(value)

    def enum_names(self, enum: Any) -> dict[int, str]:
        """Return number → shown name; of aliases the first one declared is shown."""
        if (names := self.cache.get(("enum", enum.full_name))) is None:
            names = self.cache["enum", enum.full_name] = {}
            prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"
            for value in enum.values:
                shown = self.option(value, "EnumValue", "label") or value.name.removeprefix(prefix)
                names.setdefault(value.number, shown)
        return names

    def event_type(self, full_name: str) -> tuple[str, Any]:
        """Return short name and class of an event type; the class is None where nothing declares it."""
        try:
            cls = self.message_class(full_name)
        except KeyError:
            return full_name, None
        if (key := ("event", full_name)) not in self.cache:
            self.cache[key] = getattr(self.option(cls.DESCRIPTOR, "Message", "event"), "name", "") or full_name
        return self.cache[key], cls

    def lines(self, event: Any) -> list[Line]:
        """Decode an envelope; a block of steps becomes its rows.

        Payload and context become one dict, in which the payload's names win. What the record does not
        explain (a type without descriptors, a payload that does not fit) stays bytes.
        """
        full_name = self.types.get(event.type_id, f"type:{event.type_id}")
        name, cls = self.event_type(full_name)
        place = self.message_class("esper_telemetry.v1.Context").FromString(event.context)
        context, payload = self.plain(place), {"payload": json_ready(event.payload)}
        with contextlib.suppress(AttributeError, DecodeError, IndexError, TypeError, ValueError):
            message = cls.FromString(event.payload)
            payload = self.plain(message)
            if full_name == "esper_telemetry.v1.StepBlock" and message.steps * message.envs <= 8 * len(event.payload):
                return list(self.rows(message, context, event))
        return [json_line(event.time_unix_nano, event.seq, (name, full_name), payload | context | payload)]

    def rows(self, block: Any, context: Any, event: Any) -> Iterator[Line]:
        """Expand a StepBlock as its .proto documents: row = step * envs + env; a column holds one field of all rows."""
        (name, cls), bits = self.event_type(block.row_type), getattr(block, "valid", b"")  # no bits: all rows are
        kinds = cls.DESCRIPTOR.fields_by_name if cls else {}
        columns = [(c.field, self.column(c, block.steps * block.envs, kinds.get(c.field))) for c in block.columns]
        places = self.message_class("esper_telemetry.v1.Context").DESCRIPTOR.fields_by_name
        times = [block.first_time_unix_nano + us * 1000 for us in block.time_offsets_us] or [event.time_unix_nano]
        for row in [r for r in range(block.steps * block.envs) if not bits or bits[r >> 3] >> (r & 7) & 1]:
            step, env = divmod(row, block.envs)
            payload = {field: values[row] for field, values in columns if values[row] is not None}
            payload = self.plain(cls(**payload)) if cls else {field: json_ready(payload[field]) for field in payload}
            here = context | {"env_id": block.env_ids[env] if block.env_ids else env}
            here |= {"device": block.device} if block.HasField("device") else {}
            here |= {c.field: c.values[env] for c in block.env_context} | {
                c.field: c.values[step] for c in block.context
            }
            here = {place: here[place] for place in places if place in here and place != "episodes_completed"}
            yield json_line(times[step % len(times)], event.seq, (name, block.row_type), payload | here | payload)

    def column(self, column: Any, count: int, kind: Any) -> list[Any]:
        """Return a column's value in each row; None where the field is unset."""
        if column.flags:
            return [bool(column.flags[row >> 3] >> (row & 7) & 1) for row in range(count)]
        packed = column.indices or column.floats or column.doubles
        code = ("B" if len(packed) == count else "H") if column.indices else "f" if column.floats else "d"
        if len(packed) != calcsize(code) * count:
            raise ValueError(f"the column {column.field} has {len(packed)} bytes for {count} rows")
        values = [value for (value,) in iter_unpack("<" + code, packed)]
        options = dict(enumerate(column.numbers if kind and kind.enum_type else column.labels))
        return [options.get(value) for value in values] if column.indices else values


def bootstrap() -> dict[str, Any]:
    """Return the message classes of BOOTSTRAP by name."""
    file = descriptor_pb2.FileDescriptorProto(name="bootstrap", package="bootstrap", syntax="proto3")
    for line in BOOTSTRAP.splitlines():
        name, _, fields = line.partition(": ")
        message = file.message_type.add(name=name)
        for field in fields.split(", "):
            kind, name, number = field.split()
            added = message.field.add(name=name, number=int(number), label=3 if kind.endswith("*") else 1)
            if (base := kind.rstrip("*")) in SCALARS:
                added.type = SCALARS[base]
            else:
                added.type, added.type_name = added.TYPE_MESSAGE, f".bootstrap.{base}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    messages = pool.FindFileByName("bootstrap").message_types_by_name
    return {name: message_factory.GetMessageClass(message) for name, message in messages.items()}


MESSAGES = bootstrap()


def complete(file: Any, lines: Iterator[str]) -> None:
    """Give a file what its header leaves out: names, each the first word of a line, and what follows from places."""
    own = next(lines, "")
    for one in file.message_type:
        complete_message(one, lines)
    name(lines, *(part for one in file.enum_type for part in (one, *one.value)), *file.extension)
    file.name = own or ".".join(filter(None, [file.package, next(iter((*file.message_type, *file.enum_type))).name]))
    file.syntax = file.syntax or "proto3"


def complete_message(message: Any, lines: Iterator[str]) -> None:
    """Give a message of such a file what it lacks."""
    name(lines, message, *message.field, *message.oneof_decl)
    for nested in message.nested_type:
        complete_message(nested, lines)
    name(lines, *(part for one in message.enum_type for part in (one, *one.value)))
    for before, field in zip((None, *message.field), message.field, strict=False):
        field.number = field.number or (before.number if before is not None else 0) + 1
        if field.proto3_optional and not field.HasField("oneof_index"):
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field.name}")


def name(lines: Iterator[str], *several: Any) -> None:
    """Take the next names; behind the space is a comment."""
    for one in several:
        one.name = next(lines, "").partition(" ")[0]


def events_of(content: Any) -> list[Any]:
    """Return the events of a frame in the order of their sequence numbers: single ones, and those of blocks."""
    events = list(content.event)
    for block in content.block:
        count = block.events
        seqs = list(itertools.accumulate(integers(block.seq_steps, count - 1, "I"), initial=block.first_seq))
        steps = integers(block.time_steps, count - 1, "i")
        times = list(itertools.accumulate(steps, initial=block.first_time_unix_nano))
        if len(block.payloads) not in {0, count}:
            raise ValueError(f"a block of {count} events has {len(block.payloads)} payloads")
        if (len(block.context) + len(block.columns)) * count > MAX_CELLS:
            raise ValueError(f"a block of {count} events holds over {MAX_CELLS:,} values")
        contexts = serialized(block.context, count)
        payloads = list(block.payloads) or serialized(block.columns, count)
        for seq, moment, context, payload in zip(seqs, times, contexts, payloads, strict=True):
            stated = {"type_id": block.type_id, "time_unix_nano": moment, "seq": seq}
            events.append(MESSAGES["Event"](**stated, context=context, payload=payload))
    return sorted(events, key=lambda event: event.seq)


def serialized(columns: Any, count: int) -> list[bytes]:
    """Return the message of each of `count` events: its fields one after the other, each with its tag."""
    fields = []
    for column in columns:
        wire, kind = KINDS[column.type]
        tag = varint(column.field << 3 | wire)
        written = [tag + wire_value(kind, value) for value in column_values(column, count)]
        if len(written) not in {1, count}:
            raise ValueError(f"the column of field {column.field} has {len(written)} values for {count} events")
        fields.append(written if len(written) == count else written * count)
    return [b"".join(parts) for parts in zip(*fields, strict=True)] if fields else [b""] * count


def column_values(column: Any, count: int) -> list[Any]:
    """Return the values of a column: one for each event, or one for all."""
    if column.flags:
        return [column.flags[event >> 3] >> (event & 7) & 1 for event in range(count)]
    if column.doubles or column.floats:
        return reals(column.doubles or column.floats, "<d" if column.doubles else "<f")
    if column.texts:
        places = integers(column.indices, count, "I") if column.indices else range(len(column.texts))
        return [column.texts[place] for place in places]
    if column.ints:
        return integers(column.ints, count, "i")
    steps = column.int_steps and integers(column.int_steps, count - 1, "i")  # none: one number for all
    return list(itertools.accumulate(steps, initial=column.first))


def integers(planes: bytes, count: int, code: str) -> list[int]:
    """Return numbers of one width: the lowest bytes of all, the next bytes of all, up to the highest; "i": signed."""
    width, rest = divmod(len(planes), count) if count > 0 else (1, len(planes))
    if rest or not 0 < width <= 8:  # noqa: PLR2004 - bytes of the widest integer
        raise ValueError(f"{len(planes)} bytes are no {count} integers")
    return [int.from_bytes(planes[place::count], "little", signed=code == "i") for place in range(count)]


def reals(data: bytes, code: str) -> list[float]:
    """Return real numbers: all bytes but the two highest, number by number; the next-highest of all; the highest."""
    count, low = len(data) // calcsize(code), calcsize(code) - 2
    ends = enumerate(zip(data[count * low : count * low + count], data[count * low + count :], strict=True))
    return [value for at, end in ends for value in unpack(code, data[at * low : at * low + low] + bytes(end))]


def wire_value(kind: str, value: Any) -> bytes:
    """Return a value as protobuf writes it behind its tag; integers come signed, of 64 bits."""
    if isinstance(value, bytes):
        return varint(len(value)) + value
    if kind == "zigzag":
        return varint(value << 1 ^ value >> 63)
    if kind[0] == "<":
        size = calcsize(kind)
        return pack(kind, value) if kind[1] in "dfqi" else (value % 2 ** (8 * size)).to_bytes(size, "little")
    return varint(value % 2**64)


def varint(value: int) -> bytes:
    """Return a whole number as protobuf writes it: seven bits a byte, the lowest first."""
    written = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - the high bit says that more follows
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*written, value))


def json_ready(value: Any) -> Any:
    """Return a single value as JSON can hold it: bytes as base64, NaN and infinities as strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value


def json_line(moment: int, seq: int, names: tuple[str, str], data: dict[str, Any]) -> Line:
    """Return a line as it is shown: its sequence number counts the events of one producer, its time is RFC 3339."""
    seconds, nanos = divmod(moment, 10**9)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanos:09}Z"
    return moment, names[1], {"type": names[0], "seq": seq, "time": stamp, "data": data}


def stream_keys(headers: list[Any]) -> list[str]:
    """Return the keys that tell the streams of several segments apart: numbers count within one stream only."""
    facts = [(h.run_id, h.stream, h.rank, h.attempt or 1, h.producer_id) for h in headers]
    runs, streams, _, attempts, producers = (len(set(column)) > 1 for column in zip(*facts, strict=True))
    alike = len(set(facts)) > len({fact[:4] for fact in facts})
    several = any((runs, streams, attempts, producers, len(set(facts)) > 1))
    stated = {"run": runs, "stream": streams, "rank": several, "attempt": attempts, "producer": alike}
    return [key for key, needed in stated.items() if needed]


def with_keys(line: Line, keys: list[str], header: Any, names: dict[str, set[str]]) -> Line:
    """Return a line that begins with `keys`, and has the full name of a type whose short name is another's too."""
    moment, full_name, shown = line
    values = {"run": header.run_id, "stream": header.stream, "rank": header.rank, "attempt": header.attempt or 1}
    values["producer"] = header.producer_id[:4].hex()
    name = full_name if len(names.get(shown["type"], ())) > 1 else shown["type"]
    return moment, full_name, {key: values[key] for key in keys} | shown | {"type": name}


class Record:
    """One context of a file (standard input: all of them). A survey looks for contexts and opens headers only."""

    def __init__(self, path: str, start: int = 0, counted: tuple[int, int] = (0, 0), *, survey: bool = False) -> None:
        self.path, self.start, self.survey, self.schema = path, start, survey, Schema()
        self.contexts: list[tuple[Any, int, tuple[int, int]]] = []  # header, start, frames and events before it
        self.frames, self.count = counted
        self.missing, self.last_seq, self.prologue, self.filtered = 0, 0, -1, False
        self.names: dict[str, set[str]] = {}  # full names of the types by short name

    def walk(self) -> Iterator[list[Line]]:
        """Yield the lines of one structure after the other."""
        with sys.stdin.buffer if self.path == "-" else Path(self.path).open("rb") as stream:
            source = Source(stream, at := stream.seek(self.start) if self.start else 0)
            try:
                while (magic := source.magic()) and (lines := self.structure(source, magic, at)) is not None:
                    yield lines
                    at = source.offset
            except EOFError:
                if self.contexts and not self.survey:
                    where = f"inside frame {self.frames + 1:,} at byte {source.offset:,}"
                    warn(self.path, f"file ends {where}; {self.count:,} events before it are intact")
            except (KeyError, TypeError, ValueError, DecodeError, zstandard.ZstdError) as error:
                raise ValueError(f"{self.path} at byte {at:,}: {error}") from None
        if not self.contexts:
            raise ValueError(f"{self.path}: the file holds no header, and no event")
        if self.missing:
            warn(
                self.path,
                f"{self.missing:,} sequence numbers have no event: dropped by the writer, or cut out of the file",
            )

    def structure(self, source: Source, magic: bytes, at: int) -> list[Line] | None:
        """Read the structure at `at`; return its lines, or None where the next context starts."""
        whole = b"" if magic == ZSTD else source.skippable(magic)
        if whole[:4] == OURS and whole[8:16] == b"ESPERREC":
            if (major := int.from_bytes(whole[16:18], "little")) != 1:
                raise ValueError(f"the format is version {major}, this reader knows 1")
            if self.contexts and not self.survey and self.path != "-":
                return None
            self.prologue, self.schema = at, Schema()
            del source.table[: -ENTRY.size]
        if self.prologue < 0:
            raise ValueError("not a record file: it does not start with a prologue")
        if whole[:4] == SEEK_TABLE and whole[8:-9] != source.table[: -ENTRY.size] and not self.survey:
            warn(self.path, "the seek table does not list the frames before it: some are missing, or not as written")
        if whole:
            return []
        raw, desc = source.committed_frame(headers_only=self.survey)
        if desc[0]:
            return self.data(raw, desc)
        for header in (
            MESSAGES["RecordFile"].FromString(raw).header
        ):  # the first of a context, or one with further types
            if not self.schema.headers:
                self.contexts.append((header, self.prologue, (self.frames, self.count)))
                self.last_seq, self.filtered = header.previous_last_seq, b"esper_telemetry.filtered" in raw
            self.schema.add(header)
            self.note_names(header)
        return []

    def note_names(self, header: Any) -> None:
        """Note which types have which short name."""
        for entry in header.types:
            self.names.setdefault(self.schema.event_type(entry.full_name)[0], set()).add(entry.full_name)

    def data(self, raw: bytes, desc: tuple[int, ...]) -> list[Line]:
        """Parse a data frame, hold it against its DESC, and return its lines."""
        records, _, first, last, *span = desc
        self.frames, self.count = self.frames + 1, self.count + records
        if self.survey:
            return []
        content = MESSAGES["RecordFile"].FromString(raw)
        if content.header:
            raise ValueError("a frame holds headers and events")
        events = events_of(content)
        times = [event.time_unix_nano for event in events]
        if len(events) != records or [min(times), max(times)] != span:
            raise ValueError("the events of the frame are not those its DESC describes")
        numbers = [first - 1, *(event.seq for event in events), last + 1]
        if first <= self.last_seq or any(a >= b for a, b in itertools.pairwise(numbers)):
            raise ValueError(f"the sequence numbers of the frame do not rise after {self.last_seq:,}")
        self.missing += 0 if self.filtered else last - self.last_seq - records
        self.last_seq = last
        return [line for event in events for line in self.schema.lines(event)]


def merged(paths: list[str]) -> Iterator[Line]:
    """Yield the lines of all files: the segments of a stream in their order, the streams merged by time."""
    found: dict[tuple[Any, ...], Record] = {}
    headers: dict[tuple[Any, ...], Any] = {}
    names: dict[str, set[str]] = {}
    for path in paths:
        survey = Record(path, survey=True)
        with contextlib.suppress(OSError, ValueError):  # what is wrong is reported when the file is read
            list(() if path == "-" else survey.walk())
        if len(paths) > 1 and path != "-" and not survey.contexts:
            warn(path, "passed over: it is no record, or not even its header can be read")
            continue
        for header, start, counted in survey.contexts or [(MESSAGES["Header"](), 0, (0, 0))]:
            place = header.stream, header.rank, header.producer_id, header.segment, header.file_id
            headers[place] = header
            if (record := found.setdefault(place, Record(path, start, counted))).path != path:
                warn(path, f"it is a copy of {record.path}, and is passed over")
        for name, full_names in survey.names.items():
            names.setdefault(name, set()).update(full_names)
    keys = stream_keys(list(headers.values())) if headers else []
    streams = [
        (
            with_keys(line, keys, headers[place], names)
            for place in list(group)
            for lines in found[place].walk()
            for line in lines
        )
        for _, group in itertools.groupby(sorted(found), key=lambda place: place[:3])
    ]
    return heapq.merge(*streams, key=lambda line: line[0])


def warn(path: str, text: str) -> None:
    """Say on stderr what the lines on stdout lack."""
    WARNINGS.append(text)
    print(f"warning: {path}: {text}", file=sys.stderr)


def main() -> int:
    """Print the events of the files given; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a record file, a run folder, or - for stdin")
    parser.add_argument("--type", action="append", help="only this type (short or full name, * allowed); repeatable")
    arguments = parser.parse_args()
    paths = [[*filter(Path.is_file, Path(p).glob("*.esr.zst"))] if Path(p).is_dir() else [p] for p in arguments.paths]
    if not all(paths):
        parser.error("a folder holds no *.esr.zst file")
    wanted = re.compile("|".join(map(fnmatch.translate, arguments.type or ["*"])))
    try:
        for _, full_name, shown in merged(list(dict.fromkeys(str(p) for found in paths for p in sorted(found)))):
            if wanted.match(shown["type"]) or wanted.match(full_name):
                sys.stdout.buffer.write(json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the reader of our output, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError) as error:
        sys.stdout.buffer.flush()
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 3 if WARNINGS else 0


if __name__ == "__main__":
    sys.exit(main())
